"""The replay of the allocator against PyTorch's own, for every model in models/: 0 bytes apart?

    python -m benchmarks.replay_exact [--models mlp,llama:llama_1b] [--batches 2,8,33]
                                      [--gpu a100] [--csv FILE]

The requests of a training step (AdamW; fp32, amp-bf16) are recorded once, under torch's defaults.
The replay then predicts the peaks under each allocator setting, and a direct run measures them with
PyTorch's own allocator under that setting. One row per case: the peaks of the direct run, and the
difference of the replay in bytes. Exit code 1 if one differs or a run does not complete.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from planner.config.step import OptimizerName, Precision, StepConfig
from planner.config.target import Target, parse_target
from planner.emulator.build import EmulatedDevice, emulated_device
from planner.emulator.profile import UNLIMITED_BYTES, device_profile
from planner.emulator.torch_install import TorchInstall, find_torch
from planner.errors import UsageError
from planner.memory.allocator.options import parse_alloc_conf
from planner.memory.allocator.replay import ReplayResult, Request, replay, requests_of
from planner.memory.budget import MemoryBudget, memory_budgets
from planner.process.client import Runner
from planner.wire.trace import RunOutcome, StepTrace

MODELS = Path(__file__).resolve().parent.parent / "models"
PRECISIONS = (Precision.FP32, Precision.AMP_BF16)
# Cached segments are freed early only if the process may not take the whole card.
_FRACTION = 0.9
COLLECTING = f"garbage_collection_threshold:0.6,per_process_memory_fraction:{_FRACTION}"
# The memory limit of the process then, as a multiple of the peak under torch's defaults: the
# collection begins at 0.6 of it, which is below that peak.
_ROOM = 1.25
SETTINGS = (
    "",
    "expandable_segments:True",
    "max_split_size_mb:64",
    "max_split_size_mb:256",
    "roundup_power2_divisions:4",
    "large_segment_size_mb:64",
    COLLECTING,
)
PEAKS = ("peak_allocated_bytes", "peak_active_bytes", "peak_reserved_bytes")
DIFFERENCES = tuple(f"{name.removesuffix('_bytes')}_difference_bytes" for name in PEAKS)
FIELDS = (
    "model", "precision", "batch_size", "alloc_conf", "requests", "outcome", *PEAKS, *DIFFERENCES,
    "direct_s", "replay_s",
)  # fmt: skip
Row = dict[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """The requests of one step, and the peak reserved under torch's defaults."""

    config: StepConfig
    requests: list[Request]
    peak_reserved_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """One card of the emulated device."""

    torch: TorchInstall
    device: EmulatedDevice
    budget: MemoryBudget

    def total_memory_bytes(self, alloc_conf: str, peak_reserved_bytes: int) -> int:
        """Returns the card's memory: little more than needed if the setting uses a share of it."""
        if alloc_conf == COLLECTING:
            return int(peak_reserved_bytes * _ROOM / _FRACTION)
        return self.budget.usable_memory_bytes

    def profile(self, total_memory_bytes: int) -> str:
        """Returns the card that shows this memory, without a limit for allocations."""
        return device_profile(
            self.budget.card,
            torch=self.torch,
            device=self.device,
            total_memory_bytes=total_memory_bytes,
            capacity_bytes=UNLIMITED_BYTES,
        )

    def runner(self, target: Target) -> Runner:
        """Returns a Runner for all runs of a target; torch's defaults apply without a setting."""
        return Runner(
            target,
            device=self.device,
            profile=self.profile(self.budget.usable_memory_bytes),
            timeout_s=600,
            environment={"PYTORCH_CUDA_ALLOC_CONF": ""},
        )


def main() -> int:
    """Prints the table; see the module's text."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", default=",".join(sorted(p.stem for p in MODELS.glob("*.py"))))
    parser.add_argument("--batches", default="2,8,33")
    parser.add_argument("--gpu", default="a100")
    parser.add_argument("--csv", type=Path)
    arguments = parser.parse_args()
    torch = find_torch()
    (budget,) = memory_budgets([arguments.gpu], hardware_db=None, gpu_memory=None, reserve=0)
    bench = Bench(torch=torch, device=emulated_device(torch), budget=budget)
    settings = known_settings(torch.version)
    batches = [int(text) for text in arguments.batches.split(",")]
    rows: list[Row] = []
    began = time.perf_counter()
    print(*FIELDS, sep="\t")
    for model in arguments.models.split(","):
        for row in model_rows(model, bench, batches, settings):
            rows.append(row)
            print(*row.values(), sep="\t", flush=True)
    if arguments.csv:
        write(arguments.csv, rows)
    wrong = [row for row in rows if not exact(row)]
    worst = max((abs(int(str(row[name]))) for row in rows for name in DIFFERENCES), default=0)
    print(
        f"torch {torch.version}: {len(rows)} cases, {len(rows) - len(wrong)} exact, worst "
        f"difference {worst} bytes, {time.perf_counter() - began:.0f} s",
        file=sys.stderr,
    )
    return 1 if wrong else 0


def known_settings(torch_version: str) -> list[str]:
    """Returns the members of SETTINGS that this version of torch has."""
    known = []
    for alloc_conf in SETTINGS:
        try:
            parse_alloc_conf(alloc_conf, torch_version)
        except UsageError as error:
            print(f"left out: {error}", file=sys.stderr)
        else:
            known.append(alloc_conf)
    return known


def model_rows(
    model: str, bench: Bench, batches: Sequence[int], settings: Sequence[str]
) -> Iterator[Row]:
    """Yields the cases of one model; one child serves them all."""
    file, _, name = model.partition(":")
    target = parse_target(f"{MODELS / file}.py" + (f":{name}" if name else ""))
    with bench.runner(target) as runner:
        runner.wait_loaded()
        for precision, batch_size in itertools.product(PRECISIONS, batches):
            config = StepConfig(
                batch_size=batch_size, precision=precision, optimizer=OptimizerName.ADAMW
            )
            case = recorded(runner, bench, config)
            for alloc_conf in settings:
                row: Row = dict.fromkeys(FIELDS, "")
                row.update(model=model, precision=precision.value, batch_size=batch_size)
                row.update(alloc_conf=alloc_conf, **compared(runner, bench, alloc_conf, case))
                yield row


def recorded(runner: Runner, bench: Bench, config: StepConfig) -> Recorded:
    """Runs once under torch's defaults and records every request to the allocator."""
    profile = bench.profile(bench.budget.usable_memory_bytes)
    trace, allocations = runner.record(profile, config)
    if allocations is None or trace.outcome is not RunOutcome.COMPLETED:
        raise SystemExit(f"batch {config.batch_size} cannot be recorded: {trace.failure}")
    return Recorded(
        config=config,
        requests=requests_of(allocations.events),
        peak_reserved_bytes=trace.peak_reserved_bytes,
    )


def compared(runner: Runner, bench: Bench, alloc_conf: str, case: Recorded) -> Row:
    """Compares the direct run under a setting with the replay of the requests under defaults."""
    total = bench.total_memory_bytes(alloc_conf, case.peak_reserved_bytes)
    began = time.perf_counter()
    config = replace(case.config, alloc_conf=alloc_conf or None)
    direct = runner.run(bench.profile(total), config)
    between = time.perf_counter()
    replayed = replay(
        case.requests,
        parse_alloc_conf(alloc_conf, bench.torch.version),
        capacity_bytes=UNLIMITED_BYTES,
        total_memory_bytes=total,
    )
    ended = time.perf_counter()
    return {
        "requests": len(case.requests),
        "outcome": direct.outcome.value,
        **dict(zip(PEAKS, peaks(direct), strict=True)),
        **{
            name: ours - theirs
            for name, ours, theirs in zip(DIFFERENCES, peaks(replayed), peaks(direct), strict=True)
        },
        "direct_s": round(between - began, 3),
        "replay_s": round(ended - between, 3),
    }


def peaks(figures: StepTrace | ReplayResult) -> tuple[int, int, int]:
    """Returns the peaks in the order of PEAKS."""
    return (
        figures.peak_allocated_bytes,
        figures.peak_active_bytes,
        figures.peak_reserved_bytes,
    )


def exact(row: Row) -> bool:
    """Returns whether the run completed with the peaks of the replay."""
    return row["outcome"] == RunOutcome.COMPLETED.value and not any(
        row[name] for name in DIFFERENCES
    )


def write(path: Path, rows: Sequence[Row]) -> None:
    """Writes the rows as CSV."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, FIELDS)
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    sys.exit(main())
