"""Starts the ranks of a case together, as processes, or one after the other, each alone.

In: a case. Out: what each rank printed. Convention: a rank that fails ends the others.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from planner.emulator.build import EmulatedDevice
from planner.emulator.profile import UNLIMITED_BYTES, device_profile, with_peers
from planner.emulator.torch_install import find_torch
from planner.memory.budget import memory_budgets
from planner.units import GIB

REPOSITORY = Path(__file__).parents[2]
_TICK_S = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A program of some ranks. `is_eager`: communicators are made at once, and split.

    `lag` is the number of launches by which the card is behind its host.
    """

    program: str
    ranks: int
    steps: int = 3
    is_eager: bool = False
    lag: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Peaks:
    """Of one rank, in bytes, step by step."""

    allocated_bytes: tuple[int, ...]
    reserved_bytes: tuple[int, ...]


class RankError(Exception):
    """A rank has ended with an error, or all of them have taken too long."""


def real_peaks(case: Case, device: EmulatedDevice, timeout_s: float = 300.0) -> tuple[Peaks, ...]:
    """Returns the peaks of each rank of a case, all of them at once.

    Raises:
        RankError: a rank has failed; says which, with the end of its errors.
    """
    with tempfile.TemporaryDirectory(prefix="real-ranks-") as folder:
        common = {"group": "nccl", "meeting_file": f"{folder}/store"}
        orders = [_order(case, device, rank, **common) for rank in range(case.ranks)]
        return tuple(_peaks_of(line) for line in run_ranks(orders, timeout_s))


def peaks_alone(
    case: Case,
    device: EmulatedDevice,
    group: str,
    timeout_s: float = 300.0,
    *,
    first_only: bool = False,
) -> tuple[Peaks, ...]:
    """Returns the peaks of each rank alone, in the process group "planner" or "fake".

    `first_only`: of rank 0 alone, because others compare themselves with what it sends.

    Raises:
        RankError: a rank has failed.
    """
    ranks = range(1 if first_only else case.ranks)
    orders = [_order(case, device, rank, group=group) for rank in ranks]
    return tuple(_peaks_of(line) for order in orders for line in run_ranks([order], timeout_s))


def _order(case: Case, device: EmulatedDevice, rank: int, **more: str) -> dict[str, Any]:
    return {
        "program": case.program,
        "ranks": case.ranks,
        "steps": case.steps,
        "is_eager": case.is_eager,
        "rank": rank,
        "libraries": [str(path) for path in device.libraries],
        "profile": profile_of(device, has_peers=more["group"] == "nccl", lag=case.lag),
        **more,
    }


def profile_of(device: EmulatedDevice, *, has_peers: bool, lag: int = 0) -> str:
    """Returns the profile of an H100 without a limit, `lag` launches behind the host.

    Behind the host it holds what NCCL's sends record on their stream; torch's fake group records
    nothing.
    """
    (budget,) = memory_budgets(["h100"], hardware_db=None, gpu_memory=None, reserve=0)
    profile = device_profile(
        budget.card,
        torch=find_torch(),
        device=device,
        total_memory_bytes=80 * GIB,
        capacity_bytes=UNLIMITED_BYTES,
        launch_lag=lag,
    )
    return with_peers(profile) if has_peers else profile


def run_ranks(
    orders: Sequence[dict[str, Any]],
    timeout_s: float,
    command: Sequence[str] = ("-m", "benchmarks.real_ranks.rank"),
    codes: Sequence[int] = (),
) -> list[str]:
    """Runs a process for each order; returns the last line that each has printed, or "".

    `codes` are the exit codes that are expected; default: 0 of all.

    Raises:
        RankError: one has ended otherwise.
    """
    codes = codes or [0] * len(orders)
    with tempfile.TemporaryDirectory(prefix="real-ranks-") as folder:
        logs = [Path(folder) / str(number) for number in range(len(orders))]
        started = [_start(order, command, log) for order, log in zip(orders, logs, strict=True)]
        try:
            _wait(started, codes, logs, timeout_s)
        finally:
            for process in started:
                process.kill()
                process.wait()
        printed = [log.with_suffix(".out").read_text() for log in logs]
        return [text.strip().rpartition("\n")[2] for text in printed]


def _start(order: dict[str, Any], command: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    with log.with_suffix(".out").open("wb") as out, log.open("wb") as errors:
        return subprocess.Popen(
            [sys.executable, *command, json.dumps(order)],
            cwd=REPOSITORY,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            stdout=out,
            stderr=errors,
        )


def _wait(
    started: Sequence[subprocess.Popen[bytes]],
    expected: Sequence[int],
    logs: Sequence[Path],
    timeout_s: float,
) -> None:
    end_s = time.monotonic() + timeout_s
    while True:
        codes = [process.poll() for process in started]
        wrong = [
            rank
            for rank, (code, right) in enumerate(zip(codes, expected, strict=True))
            if code not in (None, right)
        ]
        late = [rank for rank, code in enumerate(codes) if code is None]
        if wrong or not late or time.monotonic() > end_s:
            break
        time.sleep(_TICK_S)
    for rank in [*wrong, *late]:
        how = "is still running" if codes[rank] is None else f"ended by {codes[rank]}"
        tail = logs[rank].read_text(errors="replace")[-3000:]
        raise RankError(f"rank {rank} of {len(started)} {how}:\n{tail}")


def _peaks_of(line: str) -> Peaks:
    answer = json.loads(line)
    return Peaks(
        allocated_bytes=tuple(answer["allocated_bytes"]),
        reserved_bytes=tuple(answer["reserved_bytes"]),
    )
