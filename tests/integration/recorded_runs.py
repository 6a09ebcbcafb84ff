"""Runs that are measured, recorded in full and in short: each in a process of its own, forked as
the product forks them.

As a module: `recorded_runs`. As a script, in the child: runs from stdin, answers to stdout, JSON.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, TypeAlias

from planner.emulator.build import EmulatedDevice
from planner.emulator.profile import device_profile
from planner.emulator.torch_install import find_torch
from planner.memory.budget import memory_budgets
from planner.memory.peak import Breakdown, breakdown
from planner.units import GIB
from planner.wire.trace import (
    AllocationEvent,
    AllocationTrace,
    EventKind,
    Origin,
    Phase,
    TensorCategory,
)

Row: TypeAlias = "tuple[str, int, int, int]"  # kind, block, bytes, stream
ROOT = Path(__file__).parents[2]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One configuration of one model file; `capacity_bytes` is all that the card has."""

    target: str
    options: dict[str, Any]
    capacity_bytes: int = 1 << 44
    gpu: str = "a100"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What the three functions gave. The traces are StepTraces as dicts."""

    measured: dict[str, Any]
    recorded: dict[str, Any]
    logged: dict[str, Any]
    allocations: AllocationTrace
    requests: list[Row]
    measure_s: float
    record_s: float

    def breakdown(self) -> Breakdown:
        """Of the recorded run, held against torch's own peak."""
        return breakdown(
            self.allocations,
            peak_allocated_bytes=self.recorded["peak_allocated_bytes"],
            peak_reserved_bytes=self.recorded["peak_reserved_bytes"],
        )

    def events_alone(self) -> list[Row]:
        """The events without their meaning."""
        return [
            (event.kind.value, event.block, event.size_bytes, event.stream)
            for event in self.allocations.events
        ]

    def allocated(self) -> Iterator[tuple[AllocationEvent, Origin]]:
        """The allocations with their origins."""
        for event in self.allocations.events:
            if event.kind is EventKind.ALLOC:
                yield event, self.allocations.origins[event.origin]


def settled(rows: Iterable[Row]) -> list[Row]:
    """The rows, each run of frees sorted.

    Autocast drops its copies of the weights in an order that differs from process to process.
    """
    found: list[Row] = []
    for is_free, run in groupby(rows, key=lambda row: row[0] == EventKind.FREE.value):
        together = list(run)
        found += sorted(together) if is_free else together
    return found


def recorded_runs(runs: Sequence[Run], device: EmulatedDevice) -> list[Recorded]:
    """All runs, one after the other, in processes forked from one that has imported torch."""
    request = {
        "libraries": [str(path) for path in device.libraries],
        "runs": [
            {"target": run.target, "options": run.options, "profile": _profile(run, device)}
            for run in runs
        ],
    }
    done = subprocess.run(
        [sys.executable, __file__],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    for line in done.stderr.splitlines():  # the profiler says nothing
        assert "memory allocation failed with OOM" in line, done.stderr
    return [_recorded(json.loads(line)) for line in done.stdout.splitlines()]


def _profile(run: Run, device: EmulatedDevice) -> str:
    (budget,) = memory_budgets([run.gpu], hardware_db=None, gpu_memory=None, reserve=0)
    return device_profile(
        budget.card,
        torch=find_torch(),
        device=device,
        total_memory_bytes=80 * GIB,
        capacity_bytes=run.capacity_bytes,
    )


def _recorded(answer: dict[str, Any]) -> Recorded:
    events = tuple(
        AllocationEvent(
            **{
                **event,
                "kind": EventKind(event["kind"]),
                "phase": Phase(event["phase"]),
                "category": TensorCategory(event["category"]),
            }
        )
        for event in answer["events"]
    )
    origins = tuple(Origin(**origin) for origin in answer["origins"])
    return Recorded(
        measured=answer["measured"],
        recorded=answer["recorded"],
        logged=answer["logged"],
        requests=[(kind, *numbers) for kind, *numbers in answer["requests"]],
        allocations=AllocationTrace(events=events, origins=origins),
        measure_s=answer["measure_s"],
        record_s=answer["record_s"],
    )


def _main() -> None:
    from planner.worker.engines import emulation

    request = json.load(sys.stdin)
    emulation.load(request["libraries"])
    emulation.configure(request["runs"][0]["profile"])
    import torch

    torch.set_num_threads(1)
    torch.cuda._device_count_nvml = lambda: -1
    for run in request["runs"]:
        answer: dict[str, Any] = {}
        for name in ("measure", "requests", "record"):
            answer.update(_forked(run, name))
        print(json.dumps(answer), flush=True)
    sys.stdout.flush()
    os._exit(0)


def _forked(run: dict[str, Any], name: str) -> Any:
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        with os.fdopen(write, "w") as pipe:
            json.dump(_answer(run, name), pipe)
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        text = pipe.read()
    os.waitpid(pid, 0)
    return json.loads(text)


def _answer(run: dict[str, Any], name: str) -> dict[str, Any]:
    import time

    import torch

    from planner.config.parse import step_config
    from planner.config.target import parse_target
    from planner.worker.drive.measure import measure, record, record_requests
    from planner.worker.engines import emulation
    from planner.worker.target.contract import load

    profile, _ = emulation.settle_architecture(run["profile"])
    emulation.configure(profile)
    torch.cuda.init()
    source = load(parse_target(run["target"]))
    config = step_config(run["options"])
    card = torch.device("cuda", 0)
    begin = time.perf_counter()
    if name == "measure":
        trace = measure(source, config, card)
        return {"measured": dataclasses.asdict(trace), "measure_s": time.perf_counter() - begin}
    if name == "requests":
        trace, log = record_requests(source, config, card)
        assert log is not None
        kinds = [kind.value for kind in log.kinds]
        return {
            "logged": dataclasses.asdict(trace),
            "requests": [*zip(kinds, log.blocks, log.sizes_bytes, log.streams, strict=True)],
        }
    trace, allocations = record(source, config, card)
    assert allocations is not None
    return {
        "recorded": dataclasses.asdict(trace),
        "record_s": time.perf_counter() - begin,
        "events": [dataclasses.asdict(event) for event in allocations.events],
        "origins": [dataclasses.asdict(origin) for origin in allocations.origins],
    }


if __name__ == "__main__":
    _main()
