"""Counts the operators of a step at any batch, with runs of only a few batches.

In: a function that counts the step at a batch. Out: ModelCounts at any. Convention: two batches are
counted, the others are computed from them where the operators allow it, else they are counted too.
A batch at which the model's code fails is no sample for others.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

from planner.errors import ModelError
from planner.estimation.operator_scaling import Counted, counts_at
from planner.wire.module_counts import ModelCounts

# Times the requested batch: odd, so that a size of the model is seldom mistaken for the batch's;
# multiples of the requested batch, because a model may need its batch to be divisible by it.
_SAMPLED = (1, 3, 5)


class BatchCounts:
    """Counts one step; `asked` is a batch at which it can run."""

    def __init__(self, count: Callable[[int], ModelCounts], asked: int) -> None:
        self._count = count
        self._asked = asked
        self._counted: dict[int, ModelCounts] = {}
        self._told: dict[int, ModelCounts] = {}
        self._failed: set[int] = set()

    @property
    def counted_batches(self) -> tuple[int, ...]:
        """Returns the batches that were counted by a run."""
        return tuple(self._counted)

    def at(self, batch_size: int) -> ModelCounts:
        """Returns the counts at a batch.

        Raises:
            PlannerError: the batch had to be counted by a run, and the step fails there.
        """
        if batch_size in self._counted:
            return self._counted[batch_size]
        if batch_size not in self._told:
            found = self._from_others(batch_size)
            if found is None:
                return self.counted(batch_size)
            self._told[batch_size] = found
        return self._told[batch_size]

    def counted(self, batch_size: int) -> ModelCounts:
        """Returns the counts of a run at a batch.

        Raises:
            PlannerError: the step fails there.
        """
        if batch_size not in self._counted:
            self._counted[batch_size] = self._count(batch_size)
        return self._counted[batch_size]

    def _from_others(self, batch_size: int) -> ModelCounts | None:
        """Computes the counts from the first pair of samples that follow a rule, or None."""
        samples = [times * self._asked for times in _SAMPLED]
        for one, other in sorted(combinations(samples, 2), key=lambda pair: pair[1]):
            if batch_size in (one, other):
                return self.counted(batch_size)
            first, second = self._sample(one), self._sample(other)
            if first is None or second is None:
                continue
            found = counts_at(first, second, batch_size)
            if found is not None:
                return found
        return None

    def _sample(self, batch_size: int) -> Counted | None:
        """Counts a sample; None where the model's code fails, as it may at some batches only."""
        if batch_size in self._failed:
            return None
        try:
            return Counted(batch_size=batch_size, counts=self.counted(batch_size))
        except ModelError:
            self._failed.add(batch_size)
            return None
