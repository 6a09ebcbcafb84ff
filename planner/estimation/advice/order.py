"""Orders the levers: those tried at once, and those tried only where others are not enough.

In: LeverRows, the bytes of each category at the peak, the bytes that are missing. Out: Order.
Convention: only weights, gradients and states are counted on. Of activations another lever can move
the peak to where there are more.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from planner.estimation.advice.lever_row import LeverRow
from planner.results.advice import Effect, TrialState
from planner.units import format_bytes
from planner.wire.trace import TensorCategory

_NEGLIGIBLE_SHARE = 0.01  # of the missing bytes: a lever that promises less is tried last
_HOPELESS_SHARE = 0.8  # of the missing bytes: alone, a lever that promises less is not enough
_LASTING = (TensorCategory.PARAMETER, TensorCategory.GRADIENT, TensorCategory.OPTIMIZER_STATE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Levers to try one by one, the most promising first; for `large` and `last` see Field.

    `untried` are those that are not tried at once, with the state and the reason of each.
    """

    first: tuple[LeverRow, ...]
    large: tuple[LeverRow, ...]
    last: tuple[LeverRow, ...]
    untried: tuple[tuple[LeverRow, TrialState, str], ...]


def order_of(
    rows: Sequence[LeverRow],
    *,
    named: Collection[str],
    categories: Mapping[str, int],
    missing_bytes: int,
    is_of_another_child: Callable[[LeverRow], bool],
    is_about_time: bool = False,
) -> Order:
    """Returns the order of the levers; those `named` come first.

    `categories` are empty where they are not known, `missing_bytes` 0 where the step fits, or has
    to do more than to fit. `is_about_time`: the goal is a fast step.
    """
    first: list[LeverRow] = []
    large: list[LeverRow] = []
    last: list[LeverRow] = []
    untried: list[tuple[LeverRow, TrialState, str]] = []

    def leave(row: LeverRow, stage: list[LeverRow], why: str) -> None:
        stage.append(row)
        reason = f"{why}; --try {shlex.quote(row.name)} tries it"
        untried.append((row, TrialState.NOT_TRIED, reason))

    for row in rows:
        if row.is_reserve:
            continue
        if row.cannot:
            untried.append((row, TrialState.CANNOT_APPLY, row.cannot))
            continue
        promised = _lasting_bytes(row, categories)
        if row.name in named or row.is_own:
            first.append(row)
        elif row.is_last or is_of_another_child(row):
            leave(
                row, last, "the model would be loaded anew, which is done where nothing else fits"
            )
        elif row.is_slow and not is_about_time:
            leave(row, last, "its run takes minutes, which is done where nothing else fits")
        elif promised is not None and promised < _NEGLIGIBLE_SHARE * missing_bytes:
            size, missing = int(row.promised_bytes(categories)), format_bytes(missing_bytes)
            leave(row, last, f"it may save {format_bytes(size)} of {missing} that are missing")
        elif (
            promised is not None
            and promised < _HOPELESS_SHARE * missing_bytes
            and _is_no_small_change(row)
        ):
            leave(
                row,
                large,
                "alone it is not enough: it is tried where smaller changes do not fit together",
            )
        else:
            first.append(row)
    first.sort(key=lambda row: -row.promised_bytes(categories))
    return Order(first=tuple(first), large=tuple(large), last=tuple(last), untried=tuple(untried))


def _is_no_small_change(row: LeverRow) -> bool:
    """Returns whether a lever keeps the job, and changes the training or uses the host."""
    return not row.changes_job and (row.effect is Effect.LARGE or row.uses_host)


def _lasting_bytes(row: LeverRow, categories: Mapping[str, int]) -> float | None:
    """Returns what a lever promises of weights, gradients and states; None: of other memory too.

    Parameters and states are the same all the time, and gradients are as many as parameters where
    all are there.
    """
    if not row.promise or not categories:
        return None
    if any(category not in _LASTING for category, _ in row.promise):
        return None
    parameters = categories.get(TensorCategory.PARAMETER.value, 0)
    gradients = max(parameters, categories.get(TensorCategory.GRADIENT.value, 0))
    return row.promised_bytes({**categories, TensorCategory.GRADIENT.value: gradients})
