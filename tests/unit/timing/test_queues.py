"""CPU and card as two queues, by hand."""

from __future__ import annotations

import pytest

from planner.timing.queues import Call, calls_in_order, stall_s, step_s, waits_of
from planner.wire.call_order import CallOrder
from tests.unit.operator_records import operator, relu, tensor


def call(issue_s: float, card_s: float, *, waits: bool = False) -> Call:
    return Call(issue_s=issue_s, card_s=card_s, waits=waits)


@pytest.mark.parametrize(
    ("calls", "seconds"),
    [
        pytest.param([call(1, 5), call(1, 5)], 10, id="the card is slower"),
        pytest.param([call(5, 1), call(5, 1)], 10, id="the CPU is slower"),
        pytest.param([call(6, 1), call(1, 6)], 7, id="one after the other, over many steps"),
        pytest.param([], 0, id="nothing"),
    ],
)
def test_without_reads_a_step_takes_the_longer_queue(calls: list[Call], seconds: float) -> None:
    assert step_s(calls) == seconds
    assert stall_s(calls) == 0


def test_a_read_at_the_end_drains_the_card() -> None:
    """Issued at 1 and 2, run from 1 to 4 and 4 to 7: the next step begins at 7."""
    calls = [call(1, 3), call(1, 3, waits=True)]
    assert step_s(calls) == 7
    assert stall_s(calls) == 1


def test_a_read_in_the_middle_makes_the_card_wait_for_later_calls() -> None:
    """The read is over at 2 + 4; the second call is issued at 10 and run to 11.

    The next step issues its first call at 12, when the card is free: 2 seconds for it, 4 more.
    """
    calls = [call(2, 4, waits=True), call(4, 1)]
    assert step_s(calls) == 10
    assert stall_s(calls) == 4


def test_a_step_that_is_waited_for_has_both_ends() -> None:
    assert step_s([call(1, 1), call(1, 1)], waits_at_end=True) == 3
    assert step_s([call(1, 1), call(1, 1)]) == 2


def test_calls_come_in_their_order_with_their_views() -> None:
    order = CallOrder(operators=(1, 0, 1), views=(0, 2, 1))
    found = calls_in_order(order, [10.0, 20.0], [1.0, 3.0], [100.0, 200.0], [False, True])
    assert [(one.issue_s, one.card_s, one.waits) for one in found] == [
        (20.0, 200.0, True), (12.0, 100.0, False), (23.0, 200.0, True)
    ]  # fmt: skip


def test_the_cpu_waits_for_numbers_and_for_sizes() -> None:
    one = (tensor(8),)
    records = [relu(8), operator("_local_scalar_dense", one, ()), operator("nonzero", one, one)]
    assert waits_of(records) == (False, True, True)
