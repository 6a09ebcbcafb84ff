"""What is computed once for all cards: keys by identity, and the kernels of a record.

In: OperatorRecords. Out: Same, the kernels of each. Convention: what is kept belongs to one object,
not to its equals: a hash of many shapes takes longer than what would be saved.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Generic, TypeVar

from planner.timing.kernels import Kernel, kernels_of
from planner.wire.trace import OperatorRecord

Held = TypeVar("Held")


@dataclass(frozen=True, slots=True, eq=False)
class Same(Generic[Held]):
    """A key for one object by identity.

    It holds the object, so that no other can get the same id as long as the key is cached.
    """

    held: Held
    """The object, which must not change."""

    def __hash__(self) -> int:
        return id(self.held)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and other.held is self.held


def kernels_once(record: OperatorRecord) -> tuple[Kernel, ...]:
    """Returns the kernels of a record; keeps them, because every card needs the same."""
    return _kernels(Same(record))


@lru_cache(maxsize=16384)
def _kernels(same: Same[OperatorRecord]) -> tuple[Kernel, ...]:
    return kernels_of(same.held)
