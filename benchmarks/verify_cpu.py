"""Verification on the CPU: is the predicted largest batch the one that fits under a real limit.

    python -m benchmarks.verify_cpu [--models mlp,lstm,resnet50]

One row per model: predicted and measured largest batch, probes, seconds. Some minutes each. Exit
code 1 when a prediction is more than 2 % above or 5 % below what fits.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import planner

ROOT = Path(__file__).resolve().parent.parent
MEMORY = {"mlp": "600MiB", "lstm": "1GiB", "resnet50": "1000MiB"}
INPUTS = {"resnet50": "3x32x32"}
MOST_ABOVE, MOST_BELOW = 0.02, 0.05


def main() -> int:
    """Prints the table; see the module's text."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", default=",".join(MEMORY))
    bad = 0
    print("model", "memory", "predicted", "measured", "probes", "seconds", "", sep="\t")
    for model in parser.parse_args().models.split(","):
        begun = time.perf_counter()
        found = planner.verify(
            str(ROOT / f"models/{model}.py"),
            device="cpu",
            memory=MEMORY[model],
            inputs=INPUTS.get(model, ()),
        )
        seconds = time.perf_counter() - begun
        sides = found.predicted.max_batch_size, found.measured.max_batch_size
        good = is_near(*sides)
        bad += not good
        mark = "" if good else "<--"
        print(model, MEMORY[model], *sides, len(found.probes), f"{seconds:.0f}", mark, sep="\t")
    return int(bad > 0)


def is_near(predicted: int | None, measured: int | None) -> bool:
    """Returns whether a prediction is within the limits above."""
    if predicted is None or not measured:
        return False
    return -MOST_BELOW <= predicted / measured - 1 <= MOST_ABOVE


if __name__ == "__main__":
    sys.exit(main())
