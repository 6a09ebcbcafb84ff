"""Runs the two queues of a step: the CPU issues calls in order, the card runs their kernels.

In: the order of the calls, seconds of the CPU and of the card for each operator. Out: the seconds
that the card waits beyond the longer of both sums. Convention: the CPU may be ahead by any number
of launches, until a call whose value it needs: there it waits until the card has run everything.
Without such a call steps overlap, and a step takes the longer of both sums.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from planner.wire.call_order import CallOrder
from planner.wire.trace import OperatorRecord

# Operators whose result is a Python number or a size that depends on values.
_READS = frozenset(
    ("aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select", "aten::equal",
     "aten::is_nonzero", "aten::_unique2", "aten::unique_dim", "aten::unique_consecutive")
)  # fmt: skip
_STEPS = 2  # the first begins with empty queues, the second is as all later ones


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call: seconds of the CPU until it is issued, then seconds of the card."""

    issue_s: float
    card_s: float
    waits: bool = False
    """Whether the CPU waits until the card has run it."""


def waits_of(operators: Sequence[OperatorRecord]) -> tuple[bool, ...]:
    """Returns for each operator whether the CPU waits for its value."""
    return tuple(record.name in _READS for record in operators)


def calls_in_order(
    order: CallOrder,
    issue_s: Sequence[float],
    view_s: Sequence[float],
    card_s: Sequence[float],
    waits: Sequence[bool],
) -> list[Call]:
    """Returns the calls of a step; the columns have an entry for each operator.

    `view_s` is for a call without a kernel before a call of the operator.
    """
    return [
        Call(
            issue_s=issue_s[place] + views * view_s[place],
            card_s=card_s[place],
            waits=waits[place],
        )
        for place, views in zip(order.operators, order.views, strict=True)
    ]


def stall_s(calls: Sequence[Call]) -> float:
    """Returns the seconds of a step beyond the longer of its two sums."""
    sums = sum(call.issue_s for call in calls), sum(call.card_s for call in calls)
    return max(0.0, step_s(calls) - max(sums))


def step_s(calls: Sequence[Call], *, waits_at_end: bool = False) -> float:
    """Returns the seconds of one of many steps; `waits_at_end`: the CPU waits for each step."""
    if not waits_at_end and not any(call.waits for call in calls):
        return max(sum(call.issue_s for call in calls), sum(call.card_s for call in calls))
    issued_s = run_s = last_s = 0.0
    for _ in range(_STEPS):
        last_s = issued_s
        for call in calls:
            issued_s += call.issue_s
            run_s = max(run_s, issued_s) + call.card_s
            if call.waits:
                issued_s = run_s
        if waits_at_end:
            issued_s = run_s
    return issued_s - last_s
