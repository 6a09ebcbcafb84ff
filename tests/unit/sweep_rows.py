"""Cases and rows of a sweep made by hand: what fits, what does not, what failed."""

from __future__ import annotations

from typing import Any

from planner.sweeps.case import (
    SweepCase,
    SweepOutcome,
    SweepRow,
    asked_cells,
    failed_row,
    sweep_case,
)
from planner.units import GIB

_CELLS = ("currency", "warnings", "samples_per_s")


def case(target: str = "net.py", gpu: str = "t4", **options: Any) -> SweepCase:
    """A case with the options of estimate()."""
    return sweep_case(target, gpu, options)


def made_row(gib: float | None = 1.0, step_s: float | None = 0.1, **words: Any) -> SweepRow:
    """A row of a case; with `gib` None it failed, beyond 16 it does not fit."""
    cells = {name: words.pop(name) for name in _CELLS if name in words}
    asked = case(**words)
    if gib is None:
        return failed_row(asked, "the model's code failed: ValueError: no", "ModelError")
    return SweepRow(
        **asked_cells(asked),
        **cells,
        outcome=SweepOutcome.OK if gib <= 16 else SweepOutcome.DOES_NOT_FIT,
        device_total_bytes=int(gib * GIB),
        max_batch_size=64,
        max_batch_is_bound=False,
        max_batch_confirmed=True,
        step_s=step_s,
    )
