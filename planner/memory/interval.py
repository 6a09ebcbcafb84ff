"""Derives the interval of a new prediction from the errors of past ones.

In: ratios measured / predicted of past runs. Out: ErrorInterval. Convention: distribution-free, by
order statistics: with n past ratios and a new one that is exchangeable with them, the new one is
below the j-th smallest with a probability of at most j / (n + 1) (conformal prediction, Vovk et
al. 2005; Lei et al. 2018, https://arxiv.org/abs/1604.04173).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from planner.memory.budget import MemoryBudget

COVERAGE_PERCENT = 90  # the aim; too few ratios cover less, and the report gives the real share


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratios:
    """Ratios measured / predicted of past runs; `source` names the runs in words."""

    values: tuple[float, ...]
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NoInterval:
    """An interval that cannot be computed; `reason` gives the cause."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorInterval:
    """Factors from predicted to measured figures, least and greatest.

    `coverage` is the least share of cases inside: 0.9 for 90 %.
    """

    reserved: tuple[float, float]
    context: tuple[float, float]
    coverage: float
    basis: str

    def interval_bytes(self, budget: MemoryBudget, peak_reserved_bytes: int) -> tuple[int, int]:
        """Returns the device total, least and greatest; the prediction is always inside.

        Memory outside PyTorch's allocator is known to the byte, or between two bounds.
        """
        reserved = peak_reserved_bytes + budget.reserved_offset_bytes
        context = budget.context_overhead_bytes
        low = reserved * self.reserved[0] + context * self.context[0]
        high = reserved * self.reserved[1] + context * self.context[1]
        predicted, outside = reserved + context, budget.outside_bytes
        either = budget.outside_spread_bytes
        return (
            min(predicted, round(low)) + outside - either,
            max(predicted, round(high)) + outside + either,
        )

    def capacity_bytes(self, budget: MemoryBudget) -> int:
        """Returns the greatest predicted peak reserved whose upper end fits on the card."""
        outside_bytes = budget.outside_bytes + budget.outside_spread_bytes
        free_bytes = budget.usable_memory_bytes - budget.reserve_bytes - outside_bytes
        for_tensors = free_bytes - budget.context_overhead_bytes * self.context[1]
        upper = int(for_tensors / self.reserved[1]) - budget.reserved_offset_bytes
        return min(upper, budget.capacity_bytes)


def spread(reserved: Ratios, context: Ratios) -> ErrorInterval:
    """Returns the interval of peak reserved and context overhead, whose errors are independent.

    A sum is beyond both k-th ratios from the end only if one of its parts is beyond its own; of n
    sums at most 2 (k - 1) are, so the (2 k - 1)-th sum from the end is not. Hence each part takes
    its k-th ratio from the end, with 2 k - 1 <= j; j is the rank that the coverage requires of a
    single list. With k = 1 it is the least and the greatest ratio seen.
    """
    count = min(len(reserved.values), len(context.values))
    assert count > 0, "no spread without ratios"
    rank = (count + 1) * (100 - COVERAGE_PERCENT) // 200  # from each end
    inner = max(1, (rank + 1) // 2)
    coverage = max(0.0, 1 - 2 * (2 * inner - 1) / (count + 1))
    return ErrorInterval(
        reserved=_ends(reserved.values, inner),
        context=_ends(context.values, inner),
        coverage=coverage,
        basis=f"{reserved.source} and {context.source}",
    )


def _ends(values: Sequence[float], rank: int) -> tuple[float, float]:
    """Returns the `rank`-th smallest and the `rank`-th greatest."""
    ordered = sorted(values)
    return ordered[rank - 1], ordered[-rank]


def median(values: Sequence[float]) -> float:
    """Returns the median; written here because the module statistics loads slowly."""
    ordered, middle = sorted(values), len(values) // 2
    if len(ordered) % 2:
        return ordered[middle]
    return (ordered[middle - 1] + ordered[middle]) / 2
