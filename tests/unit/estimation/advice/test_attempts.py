"""Attempts: what is timed, and what is tried after all, with trials that are made up."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from planner.config.step import StepConfig
from planner.estimation.advice.attempts import Attempts, Deadline
from planner.estimation.advice.lever_row import LeverRow
from planner.estimation.advice.trials import Tried
from planner.results.advice import Effect, TrialState

ASKED, CARD = 100, 50  # bytes


class MadeUp:
    """Trials on a card of 50 bytes; `saves` is what the options add up to."""

    def __init__(self) -> None:
        self.counted: list[dict[str, Any]] = []

    def run(self, changes: dict[str, Any]) -> Tried:
        total = ASKED - sum(changes.values())
        return Tried(
            changes=changes, state=TrialState.TRIED, config=StepConfig(batch_size=1),
            total_bytes=total, fits=total <= CARD,
        )  # fmt: skip

    def timed(self, changes: dict[str, Any]) -> Tried:
        self.counted.append(changes)
        return replace(self.run(changes), step_s=2.0, is_timed=True)

    def time_factor(self, found: Tried) -> float | None:
        return found.sample_s


def lever(name: str, saved: int, **more: Any) -> LeverRow:
    row = LeverRow(
        name=name, options={name: saved}, family=name, effect=Effect.NONE, note="", code=""
    )
    return replace(row, **more)


def attempts(trials: MadeUp, least: float | None) -> Attempts:
    return Attempts(trials, Deadline(None), lambda _: None, least)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rows", "is_timed"),
    [
        pytest.param([lever("fits", 60)], True, id="fits"),
        pytest.param([lever("much", 12)], True, id="saves much"),
        pytest.param([lever("little", 11)], False, id="saves little"),
        pytest.param([lever("8-bit", 30, family="optimizer")], False, id="an optimizer"),
        pytest.param([lever("sgd", 60, family="optimizer")], True, id="an optimizer that fits"),
        pytest.param([lever("batch", 60, changes_job=True)], False, id="another job"),
        pytest.param([lever("a", 30), lever("b", 30)], False, id="a combination"),
    ],
)
def test_the_time_is_counted_where_the_choice_looks_at_it(
    rows: list[LeverRow], is_timed: bool
) -> None:
    trials = MadeUp()
    made = attempts(trials, 12)
    found = made(rows)
    assert (found.time_factor is not None) is is_timed
    assert len(trials.counted) == 1 + is_timed  # the step as requested is counted too
    assert made.timed(found).time_factor == 2.0
    assert attempts(MadeUp(), None)(rows).time_factor == 2.0


def test_a_lever_that_was_left_for_later_is_tried_when_it_is_asked_for() -> None:
    made = attempts(MadeUp(), 12)
    lora = lever("LoRA", 80)
    left = made.left(lora, TrialState.NOT_TRIED, "the model would be loaded anew")
    assert left.tried.state is TrialState.NOT_TRIED
    (found,) = made.all_of([lora])
    assert found.fits
    assert [one.tried.state for one in made.made] == [TrialState.TRIED]
