"""Jobs of the field, each as its user would write it, against what is known of it.

    python -m benchmarks.field [NAME ...]

Run in an environment with transformers, peft, bitsandbytes, lightning, torch_geometric,
ultralytics, monai and einops; a job whose package is missing is left out, and named. NAME is a
part of a job's name. Exit code 1 when a figure is beyond its tolerance.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import time
from pathlib import Path
from typing import Any

import planner
from benchmarks.field.cases import CASES, Case, Figure
from planner.results.estimate import Estimate
from planner.wire.value_reads import ValuesState

JOBS = Path(__file__).parent / "jobs"
_TIMEOUT_S = 3600.0


def main(arguments: list[str] | None = None) -> int:
    """Prints a line for each job; see the module's text."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*")
    wanted = parser.parse_args(arguments).names
    cases = [case for case in CASES if not wanted or any(name in case.name for name in wanted)]
    bad = 0
    print("job", "figure", "right", "predicted", "ratio", "values", "seconds", "", sep="\t")
    for case in cases:
        missing = [name for name in case.needs if importlib.util.find_spec(name) is None]
        if missing:
            print(case.name, f"left out: pip install {' '.join(missing)}", sep="\t", flush=True)
            continue
        good = _line(case)
        bad += not good
    print(f"{bad} missed", file=sys.stderr)
    return 1 if bad else 0


def _line(case: Case) -> bool:
    begun = time.perf_counter()
    try:
        found = planner.estimate(
            str(JOBS / case.file),
            gpu=case.gpu,
            batch_size=case.batch_size,
            max_batch=case.figure is Figure.LARGEST,
            timeout_s=_TIMEOUT_S,
            **dict(case.options),
        )
    except planner.PlannerError as error:
        print(case.name, case.figure.value, "", str(error).splitlines()[0], "", "MISSED", sep="\t")
        return False
    predicted = figure(found, case.figure)
    good = is_right(case, predicted)
    ratio = f"{predicted / case.right:.4f}" if case.right else ""
    print(
        case.name, case.figure.value, f"{case.right:.0f}", f"{predicted:.0f}", ratio,
        found.values.line, f"{time.perf_counter() - begun:.0f}", "" if good else "MISSED",
        sep="\t", flush=True,
    )  # fmt: skip
    return good


def is_right(case: Case, predicted: float) -> bool:
    """Returns whether a figure is within the tolerance of its case."""
    return abs(predicted - case.right) <= case.tolerance * case.right


def figure(found: Estimate, wanted: Figure) -> float:
    """Returns the figure of an estimate; 0 if it has none."""
    breakdown = found.breakdown()
    sums: dict[str, Any] = {} if breakdown is None else breakdown.by_category()
    if wanted in (Figure.SAVED, Figure.STATE):
        return float(sums.get(wanted.value, 0))
    return float(
        {
            Figure.RUNS: True,
            Figure.ALLOCATED: found.gpus[0].peak_allocated_bytes,
            Figure.LARGEST: found.max_batch_size or 0,
            Figure.FITS: found.fits(),
            Figure.READS: found.values.state is ValuesState.KNOWN,
            Figure.BREAKDOWN: bool(sums),
        }[wanted]
    )


if __name__ == "__main__":
    sys.exit(main())
