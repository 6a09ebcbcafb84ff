"""Predicts every published run on the emulated H100; needs an environment of environments.py.

In: case names (all when none). Out: a table on stdout, a CSV file, exit code 1 beyond a bound.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median

import planner
from benchmarks.h100_peaks.measurements import (
    Comparison,
    Measurement,
    read_measurements,
    violations,
)

CASES = Path(__file__).with_name("cases.py")
STEPS = 5  # as measured
GIB = 2**30


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs, prints, writes and judges the predictions."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.h100_peaks.run", description=__doc__
    )
    parser.add_argument("--case", action="append", default=[], help="only this case (repeatable)")
    parser.add_argument("--csv", type=Path, default=None, help="where to write the figures")
    options = parser.parse_args(arguments)
    measurements = [m for m in read_measurements() if not options.case or m.case in options.case]
    if not measurements:
        parser.error(f"no such case; known: {', '.join(m.case for m in read_measurements())}")
    comparisons = []
    print(_line("case", "active", "measured", "error", "reserved", "measured", "error"))
    for measurement in measurements:
        comparisons.append(predict(measurement))
        print(_row(comparisons[-1]), flush=True)
    print(_medians(comparisons))
    torch_version = version("torch").split("+")[0]
    path = options.csv or Path(__file__).with_name(f"results-torch-{torch_version}.csv")
    write(path, comparisons)
    print(f"GiB; signed relative error; written to {path}")
    beyond = violations(comparisons, whole=not options.case)
    for sentence in beyond:
        print(sentence, file=sys.stderr)
    return 1 if beyond else 0


def predict(measurement: Measurement) -> Comparison:
    """Trains the network of one run on the emulated card.

    Peaks are of the whole run; the measurement reset them after building the network. These
    networks never hold more while they are built than in a step. Allocated equals active, because
    no block is freed with work of another stream pending.
    """
    estimate = planner.estimate(
        str(CASES),
        gpu="h100",
        model_arguments={
            "network": measurement.network,
            "precision": measurement.precision,
            "sequence_length": measurement.sequence_length,
            "checkpointed": measurement.checkpointed,
        },
        batch_size=measurement.batch_size,
        # The case itself enters autocast: the runs had no GradScaler.
        precision="fp16" if measurement.precision == "fp16" else "fp32",
        steps=STEPS,
        build_on="device",
        max_batch=False,
    )
    card = estimate.gpu()
    return Comparison(
        measurement=measurement,
        active_bytes=card.peak_allocated_bytes,
        reserved_bytes=card.peak_reserved_bytes,
    )


def write(path: Path, comparisons: list[Comparison]) -> None:
    """Writes a row per case: bytes, errors as fractions, and the versions behind the figures."""
    versions = {name: version(name) for name in ("torch", "transformers", "timm")}
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(
            (
                "case",
                "predicted_active_bytes",
                "measured_active_bytes",
                "active_error",
                "predicted_reserved_bytes",
                "measured_reserved_bytes",
                "reserved_error",
                *versions,
            )
        )
        for row in comparisons:
            writer.writerow(
                (
                    row.measurement.case,
                    row.active_bytes,
                    row.measurement.peak_active_bytes,
                    f"{row.active_error:+.7f}",
                    row.reserved_bytes,
                    row.measurement.peak_reserved_bytes,
                    f"{row.reserved_error:+.7f}",
                    *versions.values(),
                )
            )


def _row(row: Comparison) -> str:
    return _line(
        row.measurement.case,
        f"{row.active_bytes / GIB:.4f}",
        f"{row.measurement.peak_active_bytes / GIB:.4f}",
        f"{row.active_error:+.4%}",
        f"{row.reserved_bytes / GIB:.3f}",
        f"{row.measurement.peak_reserved_bytes / GIB:.3f}",
        f"{row.reserved_error:+.3%}",
    )


def _medians(comparisons: list[Comparison]) -> str:
    active = median(abs(row.active_error) for row in comparisons)
    reserved = median(abs(row.reserved_error) for row in comparisons)
    return _line("median, without sign", "", "", f"{active:.4%}", "", "", f"{reserved:.3%}")


def _line(case: str, *cells: str) -> str:
    return f"{case:44}" + "".join(f"{cell:>11}" for cell in cells)


if __name__ == "__main__":
    sys.exit(main())
