"""The search by probes, against machines of which the truth is known."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.memory.probe import ProbeOutcome
from planner.results.verification import ProbeRecord
from planner.verification.search import Searched, SearchPlan, search

FITS, OOM = ProbeOutcome.FITS, ProbeOutcome.OOM


class Machine:
    """Says of each batch how its probe ends, and counts."""

    def __init__(self, outcome: Callable[[int], ProbeOutcome]) -> None:
        self.outcome = outcome
        self.tried: list[tuple[int, bool]] = []

    def __call__(self, batch_size: int, again: bool) -> ProbeRecord:
        self.tried.append((batch_size, again))
        return ProbeRecord(
            batch_size=batch_size, outcome=self.outcome(batch_size), seconds=0.0, detail="so it is"
        )

    def search(self, predicted: int, bound: int = 1 << 24, **options: bool | int) -> Searched:
        plan = SearchPlan(
            predicted=predicted,
            bound=bound,
            bound_reason="--max-batch",
            **options,  # type: ignore[arg-type] # of the tests below
        )
        return search(self, plan)


def holds(largest: int) -> Machine:
    return Machine(lambda batch: FITS if batch <= largest else OOM)


@pytest.mark.parametrize("retest", [False, True])
def test_a_good_prediction_takes_three_probes_and_a_second_look(retest: bool) -> None:
    machine = holds(965)
    assert machine.search(965, retest=retest).largest == 965
    assert [batch for batch, _ in machine.tried] == [965, 966, 964, *([965] if retest else [])]
    assert [again for _, again in machine.tried] == [False] * 3 + [True] * retest


@pytest.mark.parametrize(("predicted", "probes"), [(964, 4), (966, 4), (950, 10), (990, 12)])
def test_a_prediction_a_little_off(predicted: int, probes: int) -> None:
    machine = holds(965)
    assert machine.search(predicted).largest == 965
    assert len(machine.tried) <= probes


@given(st.integers(0, 5000), st.integers(0, 20_000), st.booleans())
def test_whatever_was_predicted_the_answer_is_the_truth(
    largest: int, predicted: int, retest: bool
) -> None:
    machine = holds(largest)
    found = machine.search(predicted, retest=retest)
    assert found.largest == largest
    assert not found.stopped
    first_looks = [batch for batch, again in machine.tried if not again]
    assert len(first_looks) == len(set(first_looks))
    assert len(machine.tried) <= 60


def test_batch_1_does_not_fit() -> None:
    machine = holds(0)
    assert machine.search(40).largest == 0
    assert machine.tried[-1] == (1, False)


def test_a_bound_ends_what_memory_does_not() -> None:
    found = holds(1 << 40).search(10, bound=300)
    assert (found.largest, found.bound) == (300, "--max-batch")
    assert all(probe.batch_size <= 300 for probe in found.probes)


def test_a_resolution_saves_probes() -> None:
    machine = holds(9_651)
    found = machine.search(9_000, resolution=16)
    assert found.largest is not None
    assert 9_651 - 16 < found.largest <= 9_651
    assert len(machine.tried) <= 12


def test_a_gap_below_the_answer_is_found() -> None:
    machine = Machine(lambda batch: FITS if batch <= 482 or batch == 484 else OOM)
    assert machine.search(484).largest == 482


@pytest.mark.parametrize(
    "outcome", [ProbeOutcome.CUDA_ERROR, ProbeOutcome.KILLED, ProbeOutcome.TIME_OUT]
)
def test_what_may_be_chance_is_tried_once_more_and_then_ends_the_search(
    outcome: ProbeOutcome,
) -> None:
    machine = Machine(lambda batch: FITS if batch <= 8 else outcome)
    found = machine.search(8)
    assert found.largest is None
    assert found.stopped == f"batch 9: {outcome.value}, so it is"
    assert [batch for batch, _ in machine.tried] == [8, 9, 9]


def test_chance_that_does_not_come_again_moves_nothing() -> None:
    seen: list[int] = []

    def outcome(batch: int) -> ProbeOutcome:
        seen.append(batch)
        if seen.count(9) == 1 and batch == 9:
            return ProbeOutcome.KILLED
        return FITS if batch <= 20 else OOM

    assert Machine(outcome).search(8).largest == 20


def test_an_error_of_the_model_ends_the_search_at_once() -> None:
    machine = Machine(lambda batch: FITS if batch <= 8 else ProbeOutcome.MODEL_ERROR)
    found = machine.search(8)
    assert (found.largest, found.stopped) == (None, "batch 9: model-error, so it is")
    assert len(machine.tried) == 2


def test_what_fits_once_and_not_the_second_time_is_no_answer() -> None:
    seen: list[int] = []

    def outcome(batch: int) -> ProbeOutcome:
        seen.append(batch)
        return FITS if batch <= 99 or (batch == 100 and seen.count(100) == 1) else OOM

    assert Machine(outcome).search(100, retest=True).largest == 99


def test_where_a_longer_look_needs_more_every_look_is_long_from_then_on() -> None:
    """Short runs fit up to 500, long ones up to 300."""
    tried: list[tuple[int, bool]] = []

    def run(batch_size: int, again: bool) -> ProbeRecord:
        tried.append((batch_size, again))
        outcome = FITS if batch_size <= (300 if again else 500) else OOM
        return ProbeRecord(batch_size=batch_size, outcome=outcome, seconds=0.0)

    plan = SearchPlan(predicted=480, bound=1 << 24, bound_reason="", retest=True)
    assert search(run, plan).largest == 300
    assert len(tried) <= 40
    assert (300, True) in tried
    assert (301, True) in tried


def test_what_has_fitted_is_known_where_the_search_had_to_stop() -> None:
    machine = Machine(lambda batch: FITS if batch <= 8 else ProbeOutcome.CUDA_ERROR)
    found = machine.search(8)
    assert (found.largest, found.fitted) == (None, 8)
