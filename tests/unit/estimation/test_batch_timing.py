"""Which batches a curve looks at, of throughputs that are known at each."""

from __future__ import annotations

from planner.estimation.batch_timing import doublings


def rising(batch: int) -> float:
    """100 ms of launches and 1 ms for each sample: 1000 B / (100 + B)."""
    return 1000 * batch / (100 + batch)


def test_doublings_go_to_the_first_beyond_the_largest() -> None:
    assert list(doublings(rising, 20)) == [1, 2, 4, 8, 16, 32]
    assert list(doublings(rising, 32)) == [1, 2, 4, 8, 16, 32, 64]
    assert list(doublings(rising, 0)) == [1]


def test_doublings_end_where_two_in_a_row_gain_less_than_one_percent() -> None:
    """1000 x 4096 / 4196 = 976.2, 8192: 987.9 (1.2 %), 16384: 993.9 and 32768: 997.0, both less."""
    assert max(doublings(rising, None)) == 32768
    assert list(doublings(lambda _: 5.0, None)) == [1, 2, 4]


def test_a_dip_is_not_yet_the_end() -> None:
    """One doubling without a gain: the next may have other kernels."""
    known = {1: 10.0, 2: 10.0, 4: 20.0, 8: 20.0, 16: 20.0}
    assert list(doublings(known.get, None)) == [1, 2, 4, 8, 16]


def test_batches_that_fail_are_left_out() -> None:
    assert list(doublings(lambda batch: None if batch < 4 else 5.0, 40)) == [4, 8, 16]
    assert doublings(lambda _: None, 4) == {}
