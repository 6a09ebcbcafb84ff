"""The order of the trials: at once, where smaller changes are not enough, where nothing else is."""

from __future__ import annotations

from dataclasses import replace

from planner.estimation.advice.lever_row import LeverRow
from planner.estimation.advice.order import Order, order_of
from planner.results.advice import Effect, TrialState
from planner.wire.trace import TensorCategory

PARAMETER, STATE, SAVED = (
    TensorCategory.PARAMETER, TensorCategory.OPTIMIZER_STATE, TensorCategory.SAVED_ACTIVATION,
)  # fmt: skip
BYTES = {PARAMETER.value: 100, STATE.value: 200, SAVED.value: 1000}


def lever(name: str, **fields: object) -> LeverRow:
    plain = LeverRow(
        name=name, options={name: 1}, family=name, effect=Effect.NONE, note="", code=""
    )
    return replace(plain, **fields)  # type: ignore[arg-type] # fields of LeverRow


ADAMW8BIT = lever("8-bit", effect=Effect.SMALL, promise=((STATE, 0.7),))
SGD = lever("SGD", effect=Effect.LARGE, promise=((STATE, 1.0),))
PAGED = lever("paged", effect=Effect.SMALL, promise=((STATE, 0.7),), uses_host=True)
CHECKPOINT = lever("checkpoint", promise=((SAVED, 0.8),))
FUSED = lever("fused", promise=((PARAMETER, 0.02),))
LORA = lever("LoRA", effect=Effect.LARGE, is_last=True, promise=((STATE, 0.9),))
HALF = lever("half the batch", effect=Effect.LARGE, changes_job=True, promise=((STATE, 0.1),))
GIVEN = lever("given", cannot="it is on already")
ROWS = (FUSED, ADAMW8BIT, SGD, PAGED, CHECKPOINT, LORA, HALF, GIVEN)


def order(missing_bytes: int, *named: str, own: tuple[LeverRow, ...] = ()) -> Order:
    return order_of(
        (*ROWS, *own), named=named, categories=BYTES, missing_bytes=missing_bytes,
        is_of_another_child=lambda row: row.name == "other child",
    )  # fmt: skip


def names(rows: tuple[LeverRow, ...]) -> list[str]:
    return [row.name for row in rows]


def test_much_is_missing() -> None:
    found = order(1000)
    assert names(found.first) == ["checkpoint", "8-bit", "half the batch"]
    assert names(found.large) == ["SGD", "paged"]
    assert names(found.last) == ["fused", "LoRA"]
    states = {row.name: (state, reason) for row, state, reason in found.untried}
    assert states["given"] == (TrialState.CANNOT_APPLY, "it is on already")
    assert states["SGD"][0] is TrialState.NOT_TRIED
    assert "--try SGD" in states["SGD"][1]
    assert set(states) == {"fused", "SGD", "paged", "LoRA", "given"}


def test_what_may_be_enough_alone_is_tried_at_once() -> None:
    found = order(240)
    assert names(found.first) == ["checkpoint", "SGD", "8-bit", "half the batch"]
    assert names(found.large) == ["paged"]


def test_a_slow_run_waits_unless_the_goal_is_a_fast_step() -> None:
    slow = lever("compile", is_slow=True, promise=((SAVED, 0.2),))
    assert names(order(1000, own=(slow,)).last) == ["fused", "LoRA", "compile"]
    assert "compile" in names(order(1000, "compile", own=(slow,)).first)
    at_once = order_of(
        (slow,), named=(), categories=BYTES, missing_bytes=0,
        is_of_another_child=lambda row: False, is_about_time=True,
    )  # fmt: skip
    assert names(at_once.first) == ["compile"]


def test_where_nothing_is_missing_only_what_is_loaded_anew_waits() -> None:
    found = order(0)
    assert not found.large
    assert names(found.last) == ["LoRA"]


def test_named_levers_and_those_of_the_file_come_first() -> None:
    own = lever("own", is_own=True)
    other = lever("other child")
    found = order(1000, "SGD", "LoRA", own=(own, other))
    assert {"SGD", "LoRA", "own"} <= set(names(found.first))
    assert "other child" in names(found.last)
