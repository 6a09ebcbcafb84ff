"""Predicts the figures published for the torch of this environment, on the emulated H100.

Out: a table on stdout; exit code 1 when a prediction is off by more than the rounding of the
published figure, or when none is published for this torch.
"""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path

import planner
from benchmarks.conv3d_workspace.published import PUBLISHED, SOURCE, TOLERANCE_GIB

CASE = Path(__file__).with_name("case.py")
CONVOLUTIONS = 100  # as measured
GIB = 2**30


def main() -> int:
    """Runs, prints and judges the predictions."""
    torch_version = version("torch").split("+")[0]
    rows = [row for row in PUBLISHED if row.torch_version == torch_version]
    if not rows:
        print(f"nothing published for torch {torch_version}; see {SOURCE}", file=sys.stderr)
        return 1
    beyond = False
    print(f"{'torch':8}{'dtype':10}{'peak allocated':16}predicted  published  difference (GiB)")
    for row in rows:
        for name, convolutions, published in (
            ("before", 0, row.before_gib),
            ("at the end", CONVOLUTIONS, row.after_gib),
        ):
            predicted = peak_allocated_bytes(row.dtype, convolutions) / GIB
            difference = predicted - published
            beyond = beyond or abs(difference) > TOLERANCE_GIB
            print(
                f"{torch_version:8}{row.dtype:10}{name:16}"
                f"{predicted:9.5f}  {published:9.4f}  {difference:+10.5f}",
                flush=True,
            )
    print(f"published: {SOURCE}")
    return 1 if beyond else 0


def peak_allocated_bytes(dtype: str, convolutions: int) -> int:
    """Returns the peak of building the tensors and running this number of convolutions."""
    estimate = planner.estimate(
        str(CASE),
        gpu="h100",
        model_arguments={"dtype": dtype, "convolutions": convolutions},
        batch_size=1,
        mode="infer",
        steps=1,
        build_on="device",
        max_batch=False,
    )
    return estimate.gpu().peak_allocated_bytes


if __name__ == "__main__":
    sys.exit(main())
