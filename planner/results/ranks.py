"""Which rank of a job on several GPUs takes the most memory, and what the others take.

In: figures of runs. Out: RanksResult, and its part of the JSON document.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from planner.results.schema.estimate import RanksDocument


@dataclass(frozen=True, slots=True, kw_only=True)
class RankRow:
    """One rank, or several that are alike."""

    first: int
    """The first of these ranks."""
    last: int
    """The last one."""
    role: str
    """What the rank has that others have not, in words."""
    peak_allocated_bytes: int | None = None
    """Most bytes in tensors at a time; None: the rank was not run."""
    peak_reserved_bytes: int | None = None
    """Most bytes held by PyTorch's allocator; None: the rank was not run."""

    @property
    def name(self) -> str:
        """Returns the ranks in words."""
        return str(self.first) if self.first == self.last else f"{self.first} to {self.last}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RanksResult:
    """The ranks of a job."""

    worst: int
    """The rank whose figures the estimate has: the one with the highest peak."""
    reason: str
    """Why it is that one, in words."""
    rows: tuple[RankRow, ...]
    """All ranks, in order."""

    def to_dict(self) -> RanksDocument:
        """Returns the JSON object `ranks`."""
        return {
            "worst": self.worst,
            "reason": self.reason,
            "rows": [
                {
                    "first": row.first,
                    "last": row.last,
                    "role": row.role,
                    "peak_allocated_bytes": row.peak_allocated_bytes,
                    "peak_reserved_bytes": row.peak_reserved_bytes,
                }
                for row in self.rows
            ],
        }
