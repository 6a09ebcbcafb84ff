"""The order in which the CPU issues the calls of a step.

In: nothing. Out: CallOrder. Convention: two columns, an entry for each call with a kernel.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class CallOrder:
    """All calls of a step with a kernel on the card, as they were issued."""

    operators: tuple[int, ...] = ()
    """Place of each call's operator in ModelCounts.operators."""
    views: tuple[int, ...] = ()
    """Calls without a kernel on the card (views, memory without values) just before each."""


NO_ORDER = CallOrder()
