"""The result of a sweep: its rows, in the order of the matrix."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from planner.sweeps.case import SweepOutcome, SweepRow


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepResult:
    """The answer of `planner.sweep()`: a row for each case that was asked."""

    rows: tuple[SweepRow, ...]
    """The rows, in the order of the matrix."""
    folder: Path | None = None
    """Folder that keeps them; None: they were not kept."""

    def count(self, outcome: SweepOutcome) -> int:
        """Returns how many cases ended so."""
        return sum(row.outcome is outcome for row in self.rows)

    def to_dict(self) -> dict[str, Any]:
        """Returns the JSON document: the list `rows`, with a key for each column."""
        return {"rows": [row_document(row) for row in self.rows]}


def row_document(row: SweepRow) -> dict[str, Any]:
    """Returns a row as JSON has it: its lists are lists, and not texts."""
    return {
        **row.to_record(),
        "assumptions": list(row.assumptions),
        "warnings": list(row.warnings),
    }
