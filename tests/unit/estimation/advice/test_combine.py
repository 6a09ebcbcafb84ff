"""The choice among attempts: smallest change first, minimal combinations, by a made-up memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from planner.config.step import StepConfig
from planner.estimation.advice.combine import (
    Attempt,
    combination,
    fitting,
    go_together,
    merged,
    minimal,
)
from planner.estimation.advice.goals import Field, candidates, ranked
from planner.estimation.advice.lever_row import LeverRow
from planner.estimation.advice.trials import Tried
from planner.results.advice import Effect, Goal, TrialState
from planner.wire.trace import TensorCategory

CARD, ASKED = 50, 100  # bytes


def lever(
    name: str, saved: int, *, family: str = "", effect: Effect = Effect.NONE, time: float = 1.0,
    strength: int = 0, changes_job: bool = False,
) -> LeverRow:  # fmt: skip
    return LeverRow(
        name=name, options={family or name: name}, family=family or name, effect=effect, note="",
        code=f"{saved} {time}", strength=strength, changes_job=changes_job,
    )  # fmt: skip


class Card:
    """A card on which savings add up; counts the runs."""

    def __init__(self) -> None:
        self.runs: list[tuple[str, ...]] = []

    def __call__(self, rows: Sequence[LeverRow]) -> Attempt:
        self.runs.append(tuple(row.name for row in rows))
        saved, time = 0, 1.0
        for row in rows:
            one, factor = row.code.split()
            saved, time = saved + int(one), time * float(factor)
        tried = Tried(
            changes=merged(rows), state=TrialState.TRIED, total_bytes=ASKED - saved,
            fits=ASKED - saved <= CARD, config=StepConfig(batch_size=1), step_s=time,
        )  # fmt: skip
        return Attempt(rows=tuple(rows), tried=tried, saved_bytes=saved, time_factor=time)


def names(one: Attempt | None) -> tuple[str, ...] | None:
    return None if one is None else tuple(row.name for row in one.rows)


def field(
    card: Card, rows: Sequence[LeverRow], later: Sequence[LeverRow] = (),
    large: Sequence[LeverRow] = (),
) -> Field:  # fmt: skip
    return Field(
        base=card([]), singles=tuple(card([row]) for row in rows), rows=tuple(rows),
        missing_bytes=ASKED - CARD, attempt=card, large=lambda: [card([row]) for row in large],
        last=lambda: [card([row]) for row in later],
        sized=lambda one: replace(one, largest=one.saved_bytes),
    )  # fmt: skip


def plan(
    card: Card, rows: Sequence[LeverRow], later: Sequence[LeverRow] = (),
    large: Sequence[LeverRow] = (),
) -> object:  # fmt: skip
    return names(next(candidates(Goal.FIT, field(card, rows, later, large)), None))


def test_the_smallest_single_change_comes_first() -> None:
    card = Card()
    rows = [
        lever("sgd", 60, effect=Effect.LARGE, time=0.9),
        lever("autocast", 55, effect=Effect.SMALL, time=0.5),
        lever("checkpoint", 70, time=1.3),
        lever("micro", 50, time=1.1),
        lever("fused", 10, time=0.9),
    ]
    assert [names(one) for one in fitting([card([row]) for row in rows])] == [
        ("micro",), ("checkpoint",), ("autocast",), ("sgd",),
    ]  # fmt: skip
    assert plan(card, rows) == ("micro",)
    assert all(len(run) < 2 for run in card.runs)  # no combination where one is enough


def test_a_combination_has_no_lever_that_it_can_do_without() -> None:
    rows = [lever("a", 20), lever("b", 15), lever("c", 36)]
    card = Card()
    assert plan(card, rows) == ("c", "a")
    assert ("c", "a") in card.runs
    found = minimal(card(rows), card, lambda one: one.fits)
    assert names(found) == ("a", "c")  # 71 saved, and 56 without b
    assert plan(Card(), [lever("a", 20), lever("b", 15)]) is None


def test_levers_of_little_effect_are_combined_before_others() -> None:
    rows = [
        lever("sgd", 45, effect=Effect.LARGE), lever("a", 30), lever("b", 25),
        lever("autocast", 40, effect=Effect.SMALL),
    ]  # fmt: skip
    assert plan(Card(), rows) == ("a", "b")


def test_a_stronger_lever_of_a_family_is_taken_where_the_weak_one_is_not_enough() -> None:
    micro = [
        lever(f"{times} micro", saved, family="batch", strength=times, time=1 + times / 100)
        for times, saved in ((2, 10), (4, 15), (8, 22), (16, 24))
    ]
    card = Card()
    singles = [card([micro[0]]), card([lever("checkpoint", 30, time=1.2)])]
    found = combination(singles, card, missing_bytes=ASKED - CARD, family=micro)
    assert names(found) == ("checkpoint", "8 micro")


def test_a_lever_of_more_effect_takes_the_place_of_a_weak_one_of_its_family() -> None:
    """Without it the fused optimizer, of no effect, would keep every other optimizer out."""
    rows = [
        lever("fused", 5, family="optimizer"),
        lever("8-bit", 20, family="optimizer", effect=Effect.SMALL),
        lever("sgd", 40, family="optimizer", effect=Effect.LARGE),
        lever("in backward", 15),
    ]
    assert plan(Card(), rows) == ("sgd", "in backward")
    assert plan(Card(), [*rows, lever("checkpoint", 20)]) == ("8-bit", "checkpoint", "in backward")


def test_a_lever_that_saves_nothing_alone_is_tried_after_the_others() -> None:
    """Checkpointing saves 15 bytes once the peak is no longer in the optimizer's step."""
    saved = ((TensorCategory.SAVED_ACTIVATION, 0.8),)
    checkpoint = replace(lever("checkpoint", 0), promise=saved)
    rows = [lever("sgd", 40, effect=Effect.LARGE), checkpoint, lever("channels_last", 0)]
    card = Card()

    def attempt(chosen: Sequence[LeverRow]) -> Attempt:
        moved = {"sgd", "checkpoint"} <= {row.name for row in chosen}
        return card(
            [replace(row, code="15 1.3") if moved and row is checkpoint else row for row in chosen]
        )

    singles = [attempt([row]) for row in rows]
    found = combination(singles, attempt, missing_bytes=ASKED - CARD, family=rows)
    assert names(found) == ("sgd", "checkpoint")
    assert not any("channels_last" in run for run in card.runs[3:])  # it promises nothing


def test_a_lever_that_uses_the_host_is_taken_where_others_are_not_enough() -> None:
    offload = replace(lever("offload", 40, time=1.05), uses_host=True)
    others = [lever("micro", 30, time=1.4), lever("checkpoint", 25, time=1.3)]
    assert plan(Card(), [offload, *others]) == ("micro", "checkpoint")
    assert plan(Card(), [offload, *others[:1]]) == ("micro", "offload")


def test_of_two_levers_of_large_effect_the_milder_is_kept_where_it_is_enough() -> None:
    promised = ((TensorCategory.OPTIMIZER_STATE, 1.0),)
    rows = [
        replace(lever(name, saved, family="optimizer", effect=Effect.LARGE), promise=promised)
        for name, saved in (("adafactor", 30), ("sgd", 31))
    ]
    for others, expected in (
        ([lever("a", 20)], {"adafactor", "a"}),
        ([lever("a", 19)], {"sgd", "a"}),
    ):
        found = plan(Card(), [*rows, *others])
        assert isinstance(found, tuple)
        assert {*found} == expected


def test_a_slow_single_change_and_one_that_gives_the_batch_up_come_after_combinations() -> None:
    rows = [
        lever("crawl", 60, time=3.0), lever("smaller batch", 60, changes_job=True),
        lever("a", 30), lever("b", 25),
    ]  # fmt: skip
    assert plan(Card(), rows)[0] != "smaller batch"  # type: ignore[index] # not None
    order = [names(one) for one in candidates(Goal.FIT, field(Card(), rows[:2]))]
    assert order == [("crawl",), ("smaller batch",)]
    assert plan(Card(), rows[1:]) == ("a", "b")


def test_what_changes_the_target_is_tried_last() -> None:
    lora = lever("LoRA", 80, effect=Effect.LARGE)
    assert plan(Card(), [lever("a", 60)], [lora]) == ("a",)
    assert plan(Card(), [lever("a", 10)], [lora]) == ("LoRA",)


def test_large_effects_are_tried_where_smaller_ones_do_not_fit_together() -> None:
    small = [lever("micro", 30), lever("checkpoint", 25)]
    sgd = lever("sgd", 35, effect=Effect.LARGE)
    card = Card()
    assert plan(card, small, large=[sgd]) == ("micro", "checkpoint")
    assert ("sgd",) not in card.runs
    later = lever("lora", 60, effect=Effect.LARGE)
    assert plan(card, small[:1], [later], [sgd]) == ("micro", "sgd")
    assert ("lora",) not in card.runs


def test_a_step_that_fits_needs_nothing() -> None:
    card = Card()
    fits = replace(field(card, [lever("a", 60)]), base=card([lever("free", 60)]))
    assert names(next(candidates(Goal.FIT, fits))) == ("free",)


def test_the_fastest_has_each_lever_that_makes_it_faster_and_still_fits() -> None:
    rows = [
        lever("autocast", 55, effect=Effect.SMALL, time=0.5), lever("fused", 5, time=0.8),
        lever("memory hungry", -30, time=0.6), lever("sgd", 60, effect=Effect.LARGE, time=0.1),
        lever("slow", 60, time=1.5),
    ]  # fmt: skip
    found = next(candidates(Goal.FASTEST, field(Card(), rows)))
    assert names(found) == ("autocast", "fused")


def test_the_largest_batch_leaves_out_the_batch_itself_and_large_effects() -> None:
    rows = [
        lever("2 micro", 90, family="batch"), lever("a", 20), lever("b", 10), lever("none", 0),
        lever("sgd", 99, effect=Effect.LARGE),
    ]  # fmt: skip
    found = next(candidates(Goal.LARGEST_BATCH, field(Card(), rows)))
    assert names(found) == ("a", "b")


@pytest.mark.parametrize(
    ("one", "other", "may"),
    [
        (lever("a", 1), lever("b", 1), True),
        (lever("a", 1, family="f"), lever("b", 1, family="f"), False),
        (lever("a", 1), replace(lever("b", 1), options={"a": 1, "b": 2}), False),
    ],
)
def test_levers_of_one_family_or_option_exclude_each_other(
    one: LeverRow, other: LeverRow, may: bool
) -> None:
    assert go_together([one], other) is may


def test_the_table_has_what_fits_first_and_what_was_not_tried_last() -> None:
    card = Card()
    untried = Attempt(
        rows=(lever("later", 0),), tried=Tried(changes={}, state=TrialState.NOT_TRIED)
    )
    attempts = [untried, card([lever("small", 10)]), card([lever("a", 60)]), card([lever("b", 40)])]
    assert [names(one) for one in ranked(attempts)] == [("a",), ("b",), ("small",), ("later",)]
