"""Peaks of sharded training on cards that are more or less behind the host, against published ones.

    python -m benchmarks.lag [--lags 0,256,1024,4096,never] [--only NAMES]

One row for each case and lag, in launches: peak active and peak reserved, predicted over published,
and whether the allocator waited for an event. The lag that planner takes (LAUNCH_LAG) is chosen by
the cases with `chooses`, the others judge it. Of the two LoRA cases only the quotient is compared,
in a row of its own. Each run is a process and takes about 15 seconds.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence

from benchmarks.command import ROOT
from benchmarks.lag.cases import CASES, LIMITED, UNLIMITED, Case
from planner.emulator.build import EmulatedDevice, emulated_device
from planner.emulator.profile import UNLIMITED_BYTES, device_profile
from planner.emulator.torch_install import find_torch
from planner.memory.budget import memory_budgets
from planner.units import GIB

_LAGS = "0,256,1024,4096,never"
_TIMEOUT_S = 900
Peaks = Mapping[str, int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the table; see the module's text. Exit code 1 when a run fails."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--lags", default=_LAGS)
    parser.add_argument("--only", default=",".join(case.name for case in CASES))
    wanted = parser.parse_args(arguments)
    names = wanted.only.split(",")
    cases = [case for case in CASES if case.name in names]
    device = emulated_device(find_torch())
    print("lag", "case", "active GiB", "reserved GiB", "active", "reserved", "waits", sep="\t")
    failed = False
    for word in wanted.lags.split(","):
        lag = None if word == "never" else int(word)
        found: dict[str, Peaks] = {}
        for case in cases:
            ran = run(case, lag, device)
            failed |= ran is None
            if ran is not None:
                found[case.name] = ran
                print(word, *row(case, ran), sep="\t", flush=True)
        if {LIMITED, UNLIMITED} <= found.keys():
            print(word, *quotient_row(found[UNLIMITED], found[LIMITED]), sep="\t", flush=True)
    return int(failed)


def run(case: Case, lag: int | None, device: EmulatedDevice) -> Peaks | None:
    """Returns the peaks of a case in bytes; None where its process failed, with its reason."""
    (budget,) = memory_budgets(
        ["a100" if case.is_lora else "h100"], hardware_db=None, gpu_memory=None, reserve=0
    )
    profile = device_profile(
        budget.card,
        torch=find_torch(),
        device=device,
        total_memory_bytes=budget.usable_memory_bytes,
        capacity_bytes=UNLIMITED_BYTES,
        launch_lag=lag,
    )
    libraries = [str(path) for path in device.libraries]
    ended = subprocess.run(
        [sys.executable, "-m", "benchmarks.lag.sharded_step"],
        input=json.dumps({"libraries": libraries, "profile": profile, "case": case.name}),
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=_TIMEOUT_S,
        check=False,
    )
    if ended.returncode:
        print(f"{case.name}: {ended.stderr[-2000:]}", file=sys.stderr)
        return None
    found: Peaks = json.loads(ended.stdout.splitlines()[-1])
    return found


def row(case: Case, found: Peaks) -> tuple[str, ...]:
    """Returns the words of a case; a LoRA case has no ratio of its own."""
    active, reserved = found["active"] / GIB, found["reserved"] / GIB
    ratios = ("", "")
    if not case.is_lora:
        ratios = (f"{active / case.active:.4f}", f"{reserved / case.reserved:.4f}")
    waits = "yes" if found["events_pending"] else "no"
    return (case.name, f"{active:.3f}", f"{reserved:.3f}", *ratios, waits)


def quotient_row(unlimited: Peaks, limited: Peaks) -> tuple[str, ...]:
    """Returns the words of LoRA without over with the rate limiter, and that over published."""
    published = {case.name: case for case in CASES}
    words = []
    ratios = []
    for name in ("active", "reserved"):
        predicted = unlimited[name] / limited[name]
        measured = getattr(published[UNLIMITED], name) / getattr(published[LIMITED], name)
        words.append(f"x {predicted:.3f}")
        ratios.append(f"{predicted / measured:.4f}")
    return (f"{UNLIMITED} / {LIMITED}", *words, *ratios, "")


if __name__ == "__main__":
    sys.exit(main())
