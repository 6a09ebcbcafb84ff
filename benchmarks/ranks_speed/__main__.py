"""Compares the throughput of training language models with what was published of them.

    python -m benchmarks.ranks_speed [--run NAME ...] [--known] [--python PYTHON] [--csv FILE]

In: measurements/several_gpus_throughput.csv, and the configurations of the same runs in
several_gpus.csv and several_gpus_fits.csv; the language models on one H100 of
benchmarks.throughput. Out: a line for each run and card, the median error, and results.csv.
Convention: tokens per second and GPU; the ratio is predicted over published. Nothing is fitted on
the runs on several GPUs. Those on H100 are of a card with 96 GB of HBM2e at 2.4 TB/s and a power
limit of 500 W (benchmarks/llama3_h100_202412_torchtitan.md of torchtitan): they are timed on
planner's own H100, and on one with that bandwidth whose products in half precision are slower as
its power is less; the median has the latter. Compiled runs are left out: a step is counted in eager
mode. Counts are kept, as those of benchmarks.throughput; `--known` takes only these, in seconds.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from statistics import median

from benchmarks.accuracy import several_gpus
from benchmarks.accuracy.predicting import budget_of
from benchmarks.accuracy.sources import SOURCES
from benchmarks.record.emulated import config_of
from benchmarks.record.environments import versions_of
from benchmarks.record.records import Step
from benchmarks.record.rows import MEASUREMENTS, read_cases
from benchmarks.throughput import operators
from benchmarks.throughput.counting import counted, kept_step
from benchmarks.throughput.shipped import shipped_s
from benchmarks.throughput.sources import SOURCES as THROUGHPUT
from planner.estimation.device_timing import speed
from planner.estimation.job import job_config
from planner.estimation.network import network_of
from planner.estimation.timed_step import TimedStep
from planner.hardware.specs import GpuSpec
from planner.results.step_time import StepTime
from planner.wire.module_counts import ModelCounts

_MEASURED = MEASUREMENTS / "several_gpus_throughput.csv"
_RESULTS = Path(__file__).parent / "results.csv"
_NARROW_BYTES_PER_S = 2.4e12
_POWER_FRACTION = 500 / 700
_LIKE = " at 2.4 TB/s and 500 W"  # the end of the name of a card that is like that of a run
_HEAD = (
    "run", "card", "published_tokens_per_s", "predicted_tokens_per_s", "low_tokens_per_s",
    "high_tokens_per_s", "ratio", "within_interval", "mfu", "scaling_efficiency", "trouble",
)  # fmt: skip


def main() -> int:
    """Runs the command; returns 0."""
    parser = argparse.ArgumentParser(prog="benchmarks.ranks_speed", description=__doc__)
    parser.add_argument("--run", action="append", help="only this one (repeatable)")
    parser.add_argument("--csv", type=Path, default=_RESULTS)
    parser.add_argument("--known", action="store_true", help="only runs counted before")
    parser.add_argument(
        "--python",
        type=Path,
        default=Path(sys.executable),
        help="the interpreter with transformers, whose counts of one GPU are taken",
    )
    asked = parser.parse_args()
    known = _read(asked.csv) if asked.csv.exists() else []
    rows = {(row["run"], row["card"]): row for row in known}
    steps = dict(_steps())
    for measured in _read(_MEASURED):
        name = measured["run"]
        source, step = steps[name]
        path = kept_step(name, step, versions_of(Path(sys.executable)))
        is_wanted = asked.run is None or name in asked.run
        if is_wanted and (path.is_file() or not asked.known):
            published = float(measured["tokens_per_s_per_gpu"])
            for row in _compared(name, published, source, step, path):
                rows[name, row["card"]] = row
                print("  ".join(row[key] for key in _HEAD), flush=True)
            _write(asked.csv, rows)
    for card in sorted({card for _, card in rows if card}):
        ratios = [float(row["ratio"]) for key, row in rows.items() if key[1] == card]
        print(f"{card}: median {median(ratios):.2f}, {min(ratios):.2f} to {max(ratios):.2f}")
    several, one = _errors(rows), list(_errors_of_one_gpu(asked.python))
    for words, errors in (
        ("several GPUs", several),
        ("one H100", one),
        ("both", several + one),
    ):
        if errors:
            print(f"{words}: {len(errors)} runs, median error of tokens/s {median(errors):.1%}")
    return 0


def _errors(rows: Mapping[tuple[str, str], Mapping[str, str]]) -> list[float]:
    """Returns the errors without sign, each run on the card that is most like that of its run."""
    found: dict[str, float] = {}
    for (run, card), row in rows.items():
        if row["ratio"] and (run not in found or card.endswith(_LIKE)):
            found[run] = abs(float(row["ratio"]) - 1)
    return list(found.values())


def _errors_of_one_gpu(python: Path) -> Iterator[float]:
    """Yields the errors of tokens per second of the language models on one H100, if counted."""
    source = THROUGHPUT["h100-training"]
    for one in counted(read_cases(source), python, jobs=1, only_known=True):
        if one.operators and dict(one.case.step.arguments)["sequence_length"]:
            yield abs(one.case.measured_s / shipped_s(one) - 1)


def _steps() -> Iterator[tuple[str, tuple[str, Step]]]:
    """Yields the source and the step of each run by its name."""
    for name in ("several-gpus", "several-gpus-fits"):
        for row in _read(SOURCES[name].measurements):
            for case in several_gpus.figure_of_a_rank(SOURCES[name], row):
                yield case.run, (name, case.step)


def _compared(
    name: str, published: float, source: str, step: Step, path: Path
) -> Iterator[dict[str, str]]:
    """Yields a row for each card; one with the trouble if the step cannot be counted."""
    row = {**dict.fromkeys(_HEAD, ""), "run": name, "published_tokens_per_s": f"{published:.0f}"}
    budget = budget_of(SOURCES[source], step.card)
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        operators.write(path, operators.counts_or_trouble(step, budget))
    found = operators.read(path)
    if isinstance(found, str):
        yield {**row, "trouble": found}
        return
    for card, spec in _cards(source, budget.spec):
        yield {**row, "card": card, **_figures(_timed(step, spec, found), step, published)}


def _cards(source: str, spec: GpuSpec) -> Iterator[tuple[str, GpuSpec]]:
    """Yields planner's card, and that of the measurement where it has no record."""
    yield spec.id, spec
    measured = spec.measured_matmul_flops_per_s
    if source != "several-gpus" or measured is None or measured.bf16 is None:
        return
    slower = replace(measured, bf16=_POWER_FRACTION * measured.bf16)
    narrow = replace(
        spec,
        memory_bandwidth_bytes_per_s=_NARROW_BYTES_PER_S,
        measured_matmul_flops_per_s=slower,
    )
    yield f"{spec.id}{_LIKE}", narrow


def _timed(step: Step, spec: GpuSpec, counted: ModelCounts) -> StepTime:
    """Times a counted step on a card."""
    config = config_of(step)
    return speed(
        TimedStep(
            card=spec,
            config=config,
            counted=counted,
            request=job_config(),
            network=network_of(config.parallel, None, None),
        )
    ).time


def _figures(time: StepTime, step: Step, published: float) -> dict[str, str]:
    assert time.samples_per_s_per_gpu is not None
    assert time.interval_s is not None
    tokens = int(dict(step.arguments)["sequence_length"]) * time.samples_per_s_per_gpu
    low, high = (tokens * time.step_s / end for end in reversed(time.interval_s))
    return {
        "predicted_tokens_per_s": f"{tokens:.0f}",
        "low_tokens_per_s": f"{low:.0f}",
        "high_tokens_per_s": f"{high:.0f}",
        "ratio": f"{tokens / published:.3f}",
        "within_interval": "yes" if low <= published <= high else "no",
        "mfu": "" if time.mfu is None else f"{time.mfu:.3f}",
        "scaling_efficiency": f"{time.scaling_efficiency:.3f}",
    }


def _read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _write(path: Path, rows: dict[tuple[str, str], dict[str, str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, _HEAD, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows.values())


if __name__ == "__main__":
    raise SystemExit(main())
