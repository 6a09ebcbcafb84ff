"""Verification on emulated cards: does it find the batch that was predicted, and how soon.

    python -m benchmarks.verify_matrix [--cards t4,rtx3090,a100-40gb,h100] [--models mlp,vit]
                                       [--precision fp32]

One row per model and card: predicted and measured largest batch, probes, seconds of the whole
verification. Exit code 1 when the two differ, or when it takes more than 4 probes or 60 s.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import planner

ROOT = Path(__file__).resolve().parent.parent
CARDS = "t4,rtx3090,a100-40gb,h100"
MOST_PROBES, MOST_SECONDS = 4, 60.0


def main() -> int:
    """Prints the table; see the module's text."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cards", default=CARDS)
    parser.add_argument("--models", default=",".join(p.stem for p in models()))
    parser.add_argument("--precision", default="fp32")
    arguments = parser.parse_args()
    bad = 0
    print("model", "card", "predicted", "measured", "probes", "seconds", "", sep="\t")
    for model in arguments.models.split(","):
        for card in arguments.cards.split(","):
            begun = time.perf_counter()
            found = planner.verify(
                f"models/{model}.py", emulated=card, precision=arguments.precision, batch_size=4
            )
            seconds = time.perf_counter() - begun
            sides = found.predicted.max_batch_size, found.measured.max_batch_size
            good = (
                sides[0] == sides[1]
                and len(found.probes) <= MOST_PROBES
                and seconds <= MOST_SECONDS
            )
            bad += not good
            verdict = "" if good else "MISSED"
            print(
                model, card, *sides, len(found.probes), f"{seconds:.1f}", verdict,
                sep="\t", flush=True,
            )  # fmt: skip
    print(f"{bad} missed", file=sys.stderr)
    return 1 if bad else 0


def models() -> list[Path]:
    """Returns the files in models/."""
    return sorted((ROOT / "models").glob("*.py"))


if __name__ == "__main__":
    sys.exit(main())
