"""The search against memory functions made of lambdas: right answers, few tries."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.memory.probe import Probe, ProbeOutcome
from planner.memory.search import BOUND, Capacity, confirmed, largest_fitting

GIB = 1 << 30


def prober(
    total_bytes: Callable[[int], int],
    limit_bytes: int,
    fails: Callable[[int], bool] = lambda batch: False,
) -> Callable[[int], Probe]:
    tried: set[int] = set()

    def try_batch(batch: int) -> Probe:
        assert batch >= 1
        assert batch not in tried, f"batch {batch} was tried twice"
        tried.add(batch)
        if fails(batch):
            return Probe(
                value=batch, outcome=ProbeOutcome.MODEL_ERROR, detail=f"ValueError: {batch}"
            )
        total = total_bytes(batch)
        if total > limit_bytes:
            return Probe(value=batch, outcome=ProbeOutcome.OOM)
        return Probe(value=batch, outcome=ProbeOutcome.FITS, total_bytes=total)

    return try_batch


def outcome(capacity: Capacity, batch: int) -> ProbeOutcome | None:
    return next((p.outcome for p in capacity.probes if p.value == batch), None)


@pytest.mark.parametrize("start", [1, 8, 32, 1000, 10**6])
@pytest.mark.parametrize(
    ("fixed_bytes", "slope_bytes"),
    [(GIB, 80 << 20), (10 * GIB, 3 << 20), (0, 7 * GIB), (GIB, 4097)],
)
def test_affine_memory(start: int, fixed_bytes: int, slope_bytes: int) -> None:
    limit = 24 * GIB
    answer = (limit - fixed_bytes) // slope_bytes
    capacity = largest_fitting(
        prober(lambda batch: fixed_bytes + slope_bytes * batch, limit),
        limit_bytes=limit,
        start=start,
    )
    assert capacity.largest == answer
    assert not capacity.is_bound
    assert outcome(capacity, answer + 1) is ProbeOutcome.OOM
    halvings = max(0, math.ceil(math.log2(start / answer)))
    assert len(capacity.probes) <= 9 + halvings


def test_a_known_try_is_not_repeated() -> None:
    known = Probe(value=8, outcome=ProbeOutcome.FITS, total_bytes=8)
    capacity = largest_fitting(
        prober(lambda batch: batch, 100), limit_bytes=100, known=(known,), start=8
    )
    assert capacity.probes[0] == known
    assert [p.value for p in capacity.probes].count(8) == 1
    assert capacity.largest == 100


@pytest.mark.parametrize("limit", [0, 5], ids=["nothing", "too little"])
def test_batch_1_does_not_fit(limit: int) -> None:
    capacity = largest_fitting(
        prober(lambda batch: 10 * batch, limit), limit_bytes=limit, start=100
    )
    assert capacity.largest == 0
    assert not capacity.is_bound
    assert outcome(capacity, 1) is ProbeOutcome.OOM
    assert outcome(capacity, 2) in (None, ProbeOutcome.OOM)


def test_everything_fits_up_to_the_bound() -> None:
    capacity = largest_fitting(prober(lambda batch: 100, 1000), limit_bytes=1000, start=8)
    assert capacity.largest == BOUND
    assert capacity.is_bound
    assert len(capacity.probes) <= 12


@pytest.mark.parametrize("bound", [1, 2, 3, 100])
def test_small_bounds(bound: int) -> None:
    capacity = largest_fitting(
        prober(lambda batch: batch, 10**9), limit_bytes=10**9, start=50, bound=bound
    )
    assert (capacity.largest, capacity.is_bound) == (bound, True)


def test_a_pocket_above_batches_that_fail_is_no_answer() -> None:
    """Reserved memory is not monotone: 99 does not fit, 100 does; whoever is told 100 takes 99."""
    fits = {*range(1, 99), 100}
    capacity = largest_fitting(
        prober(lambda batch: batch if batch in fits else 10**6, 200), limit_bytes=101, start=4
    )
    assert capacity.largest == 98
    assert outcome(capacity, 99) is ProbeOutcome.OOM


def test_pits_below_an_answer_that_another_way_has_found() -> None:
    fits = {*range(1, 80), *range(85, 101)}
    capacity = confirmed(
        prober(lambda batch: batch if batch in fits else 10**6, 200),
        answer=100,
        below=lambda value: range(value - 20, value, 5),
    )
    assert capacity.largest == 79


def test_another_error_counts_as_not_fitting_and_is_shown() -> None:
    capacity = largest_fitting(
        prober(lambda batch: batch, 10**6, fails=lambda batch: batch > 77), limit_bytes=10**6
    )
    assert capacity.largest == 77
    assert capacity.error is not None
    assert capacity.error.detail == "ValueError: 78"


def test_running_out_of_memory_is_no_error() -> None:
    capacity = largest_fitting(prober(lambda batch: batch, 77), limit_bytes=77)
    assert capacity.largest == 77
    assert capacity.error is None


@pytest.mark.parametrize("start", [1, 2, 3, 5, 64, 500])
def test_a_batch_of_one_that_fails_for_another_reason_does_not_end_the_search(start: int) -> None:
    """As batch norm does in training."""
    capacity = largest_fitting(
        prober(lambda batch: batch, 200, fails=lambda batch: batch == 1),
        limit_bytes=200,
        start=start,
    )
    assert capacity.largest == 200


def test_nothing_but_errors() -> None:
    capacity = largest_fitting(
        prober(lambda batch: 1, 100, fails=lambda batch: True), limit_bytes=100, start=8
    )
    assert capacity.largest == 0
    assert capacity.error is not None
    assert capacity.error.value == 1


@settings(max_examples=300)
@given(
    st.lists(st.integers(0, 50), min_size=1, max_size=300),
    st.integers(0, 3000),
    st.integers(1, 400),
)
def test_any_growing_memory_equals_brute_force(
    increments: list[int], limit: int, start: int
) -> None:
    totals = [1]
    for increment in increments:
        totals.append(totals[-1] + increment)
    bound = len(increments)
    fitting = [batch for batch in range(1, bound + 1) if totals[batch] <= limit]
    answer = max(fitting, default=0)
    capacity = largest_fitting(
        prober(lambda batch: totals[batch], limit), limit_bytes=limit, start=start, bound=bound
    )
    assert capacity.largest == answer
    assert capacity.is_bound == (answer == bound)
    if answer < bound:
        assert outcome(capacity, answer + 1) is ProbeOutcome.OOM
    assert len(capacity.probes) <= 8 + 4 * math.ceil(math.log2(bound + 1))


@settings(max_examples=300)
@given(st.sets(st.integers(1, 60)), st.integers(0, 60))
def test_what_another_way_has_found_is_confirmed_or_mended(fits: set[int], answer: int) -> None:
    capacity = confirmed(
        prober(lambda batch: batch if batch in fits else 10**6, 1000), answer=answer, bound=60
    )
    tried = {probe.value: probe.outcome for probe in capacity.probes}
    if capacity.largest == 0:
        assert tried[1] is ProbeOutcome.OOM
        return
    assert tried[capacity.largest] is ProbeOutcome.FITS
    assert capacity.is_bound == (capacity.largest == 60)
    if not capacity.is_bound:
        assert tried[capacity.largest + 1] is ProbeOutcome.OOM
    if answer in fits and answer + 1 not in fits:
        assert capacity.largest == answer
        assert len(tried) <= 2


def test_a_right_answer_costs_two_tries() -> None:
    capacity = confirmed(prober(lambda batch: batch, 100), answer=100)
    assert capacity.largest == 100
    assert [probe.value for probe in capacity.probes] == [100, 101]


def test_nothing_fits_as_was_found() -> None:
    capacity = confirmed(prober(lambda batch: 10 * batch, 5), answer=0)
    assert capacity.largest == 0
    assert [probe.value for probe in capacity.probes] == [1]


def test_a_wrong_answer_below_a_batch_norm() -> None:
    capacity = confirmed(prober(lambda b: b, 2, fails=lambda batch: batch == 1), answer=4)
    assert capacity.largest == 2


@pytest.mark.parametrize("fits", [{2}, {3}, {2, 3}, {5, 6}, {4, 5, 9}])
def test_batch_1_takes_more_than_larger_ones(fits: set[int]) -> None:
    def take(batch: int) -> int:
        return 1 if batch in fits else 3

    for capacity in (
        largest_fitting(prober(take, 2), limit_bytes=2, start=4, bound=64),
        confirmed(prober(take, 2), answer=4, bound=64, below=lambda value: (value - 1, value - 2)),
        confirmed(prober(take, 2), answer=max(fits), bound=64, below=lambda value: (value - 1,)),
    ):
        assert capacity.largest in {0, *fits}
        if capacity.largest:
            assert outcome(capacity, capacity.largest + 1) is ProbeOutcome.OOM
