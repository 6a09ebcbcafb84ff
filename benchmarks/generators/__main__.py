"""`python -m benchmarks.generators`: predicted peaks next to published ones, as a table."""

from __future__ import annotations

import argparse
import sys
from statistics import median

import planner
from benchmarks.generators.cases import Case, lambda_cases, offload_cases


def main() -> int:
    """Predicts the cases; exit code 1 if one raises."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.generators")
    parser.add_argument("--gpu", default="a100-sxm4-80gb", help="card of the predictions")
    parser.add_argument("--most-batch", type=int, default=16, help="leaves out larger batches")
    parser.add_argument("--only", default="", help="cases whose name has this text")
    options = parser.parse_args()
    cases = [
        one
        for one in (*lambda_cases(), *offload_cases())
        if one.options["batch_size"] <= options.most_batch and options.only in one.name
    ]
    print("| case | published, GB | predicted, GB | difference |\n|---|---|---|---|", flush=True)
    differences = [_judged(case, options.gpu) for case in cases]
    if differences:
        print(f"median of |difference|: {100 * median(map(abs, differences)):.1f} %")
    return 0


def _judged(case: Case, gpu: str) -> float:
    found = planner.estimate(
        case.target, gpu=gpu, task="generate", max_batch=False, **case.options
    ).gpu()
    predicted = found.peak_reserved_bytes if case.is_reserved else found.peak_allocated_bytes
    difference = (predicted - case.published_bytes) / case.published_bytes
    print(
        f"| {case.name} | {case.published_bytes / 1e9:.2f} | {predicted / 1e9:.2f} | "
        f"{100 * difference:+.1f} % |",
        flush=True,
    )
    return difference


if __name__ == "__main__":
    sys.exit(main())
