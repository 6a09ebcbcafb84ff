"""advise(): tries changes of a step on the emulated card, and says which one to take.

target, card, options, goal
  -> a child that loads the model; the estimate of the step as requested
  -> one run and one count for each lever, then for combinations where no lever is enough
  -> the plan, run on the card with exactly its flags
  -> Advice
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from planner.config.options import CurveOptions
from planner.config.parse import choice, texts
from planner.config.weights import settled
from planner.errors import ModelError, PlannerError, UsageError
from planner.estimation.advice.attempts import Attempts, Deadline, trial_of
from planner.estimation.advice.combine import Attempt
from planner.estimation.advice.goals import Field, candidates, ranked
from planner.estimation.advice.lever_row import LeverRow
from planner.estimation.advice.levers import lever_rows
from planner.estimation.advice.order import Order, order_of
from planner.estimation.advice.other_cards import (
    SAME_KERNELS,
    cards_that_fit,
    cheapest,
    own_cost_per_step,
)
from planner.estimation.advice.plans import answer_of, confirmed_plan, plan_on_another_card
from planner.estimation.advice.subject import subject_of
from planner.estimation.advice.trials import Trials, Tried
from planner.estimation.device_memory import DeviceMemory
from planner.estimation.one_card import one_named_card
from planner.estimation.probes import SearchAxis
from planner.estimation.request import EstimateRequest, request_with_one_setting
from planner.estimation.session import EstimationSession, estimation_session
from planner.memory.budget import MemoryBudget
from planner.results.advice import Advice, CardChoice, Goal, Plan, Trial
from planner.units import parse_seconds
from planner.wire.trace import weight_dtypes

if TYPE_CHECKING:
    from typing_extensions import Unpack

OnTrial = Callable[[Trial], None]
_MOST_CONFIRMED = 4  # attempts that are run on the card; a replay is seldom wrong
_ALL_BYTES = 1 << 62
_NOTABLE_SHARE = 0.25  # of the missing bytes: levers that save less are not timed
_MOST_SIZED = 3  # attempts of a table whose largest batch is forecast
_BY_REPLAY = (
    "trials are runs on a card with enough memory, and replays of them on the card; the plan was "
    "run on the card"
)
_SECONDS = "times are those of the operators that each change launches, counted for each"


def advise(
    target: Any,
    *,
    gpu: str | None = None,
    goal: str | Goal = Goal.FIT,
    budget: str | float | None = None,
    tries: str | Sequence[str] = (),
    on_trial: OnTrial | None = None,
    **options: Unpack[CurveOptions],
) -> Advice:
    """Tries changes of the step on one emulated card, and returns the best that reaches a goal.

    `gpu` is one card, or "auto": that of this machine, which is also the default. `goal` is fit,
    largest-batch, longest-sequence, fastest or cheapest. `budget` bounds the time in which trials
    begin, like "60s" or seconds; the confirming run comes on top. `tries` names levers that are
    else tried only where nothing else fits. `on_trial` is called with each Trial once it is known.
    All `options`: planner.config.options.

    Raises:
        PlannerError: see errors.py. A step that no change makes fit is a result: plan is None.
    """
    wanted = choice(Goal, goal, "goal")
    deadline = Deadline(_seconds(budget))
    asked = request_with_one_setting(target, **options)
    card = one_named_card(gpu, asked, "advise", "advice is for one card")
    if wanted is Goal.LONGEST_SEQUENCE and asked.config.sequence_length is None:
        raise UsageError(
            "the longest sequence was asked for (--goal longest-sequence), and no length was "
            "given: say --seq with the one to begin with, like --seq 1024"
        )
    with (
        estimation_session(asked, [card]) as session,
        Trials(target, options, asked, session) as trials,
    ):
        base = answer_of(
            trials,
            asked,
            trials.budget,
            search=wanted is not Goal.LONGEST_SEQUENCE,
            sequence=False,
        )
        missing = 0 if base.fits else _missing_bytes(trials.run({}), base)
        attempts = Attempts(
            trials,
            deadline,
            on_trial or (lambda _: None),
            _NOTABLE_SHARE * missing if wanted is Goal.FIT and missing else None,
        )
        rows = lever_rows(subject_of(session, asked, base, trials.timed({}).counted))
        return _advice(
            _Question(
                session=session,
                trials=trials,
                attempts=attempts,
                asked=asked,
                goal=wanted,
                missing_bytes=missing,
                named=_checked_names(tries, rows),
            ),
            base,
            rows,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Question:
    """What is asked, and the means to answer it.

    `missing_bytes` are those by which the step as requested does not fit; 0: it fits.
    """

    session: EstimationSession
    trials: Trials
    attempts: Attempts
    asked: EstimateRequest
    goal: Goal
    missing_bytes: int
    named: tuple[str, ...]

    @property
    def axis(self) -> SearchAxis:
        """Returns what is to be largest."""
        is_length = self.goal is Goal.LONGEST_SEQUENCE
        return SearchAxis.SEQUENCE if is_length else SearchAxis.BATCH


def _checked_names(tries: str | Sequence[str], rows: Sequence[LeverRow]) -> tuple[str, ...]:
    """Returns the names of levers that were requested.

    Raises:
        UsageError: there is no such lever.
    """
    named = [part.strip() for text in texts(tries, "tries") for part in text.split(",")]
    known = {row.name.lower(): row.name for row in rows}
    for name in named:
        if name.lower() not in known:
            raise UsageError(
                f"there is no lever {name!r} to try for this step; there are "
                f"{', '.join(sorted(known.values()))}"
            )
    return tuple(known[name.lower()] for name in named)


def _advice(question: _Question, base: DeviceMemory, rows: Sequence[LeverRow]) -> Advice:
    attempts = question.attempts
    singles, order = _singles(question, rows, base)
    cards = _cards(question) if question.goal is Goal.CHEAPEST or not base.fits else ()
    choices = Field(
        base=attempts.base,
        singles=tuple(singles),
        rows=tuple(row for row in rows if not row.cannot),
        missing_bytes=question.missing_bytes,
        attempt=attempts,
        large=lambda: attempts.all_of(order.large),
        last=lambda: attempts.all_of(order.last),
        sized=lambda one: attempts.sized(one, question.axis),
    )
    plan = _cheapest(question, cards) if question.goal is Goal.CHEAPEST else None
    if plan is None:
        plan = _first_confirmed(question, candidates(question.goal, choices))
    return _result(question, base, plan, cards)


def _seconds(budget: str | float | None) -> float | None:
    if budget is None:
        return None
    if isinstance(budget, bool) or not isinstance(budget, (str, int, float)):
        raise UsageError(f"budget must be a duration like 60s or seconds, not {budget!r}")
    return parse_seconds(str(budget))


def _singles(
    question: _Question, rows: Sequence[LeverRow], base: DeviceMemory
) -> tuple[list[Attempt], Order]:
    """Tries the levers that come first, one by one; returns them with the order of all."""
    found = order_of(
        rows,
        named=question.named,
        categories={} if base.breakdown is None else base.breakdown.by_category(),
        missing_bytes=question.missing_bytes if question.goal is Goal.FIT else 0,
        is_of_another_child=lambda row: question.trials.is_of_another_child(row.options),
        is_about_time=question.goal in (Goal.FASTEST, Goal.CHEAPEST),
    )
    for row, state, reason in found.untried:
        question.attempts.left(row, state, reason)
    return question.attempts.all_of(found.first), found


def _missing_bytes(base: Tried, answer: DeviceMemory) -> int:
    """Returns the bytes by which the step as requested does not fit; 0: it fits."""
    peak_bytes = base.peak_reserved_bytes
    if peak_bytes is None:
        return _ALL_BYTES
    return max(0, peak_bytes - answer.budget.capacity_bytes)


def _first_confirmed(question: _Question, found: Iterable[Attempt]) -> Plan | None:
    """Returns the first plan that a run on the card confirms."""
    for one in islice(found, _MOST_CONFIRMED):
        names = ", ".join(row.name for row in one.rows) or "the step as requested"
        question.asked.progress(f"{question.trials.budget.requested}: confirming {names}")
        with suppress(ModelError):  # its own run had ended, and that on the full card fails
            plan = confirmed_plan(question.trials, _label(question), one, question.goal)
            if plan is not None:
                question.attempts.timed(one)
                return plan
    return None


def _label(question: _Question) -> str:
    return question.session.child.label


def _cards(question: _Question) -> tuple[tuple[CardChoice, MemoryBudget], ...]:
    """Returns the other cards on which the step fits; none where a memory was given by hand."""
    asked = question.asked
    if asked.gpu_memory is not None or question.attempts.is_over:
        return ()
    with suppress(PlannerError):  # the advice for the requested card stands without them
        return cards_that_fit(question.trials, question.session, asked.database, asked.reserve)
    return ()


def _cheapest(question: _Question, cards: Sequence[tuple[CardChoice, MemoryBudget]]) -> Plan | None:
    """Returns the step as requested on the card where its rent is least, if that is another one."""
    trials, base = question.trials, question.attempts.base
    best = cheapest([card for card, _ in cards])
    if best is None:
        return None
    own = own_cost_per_step(trials.budget.spec, base.tried.step_s) if base.fits else None
    if own is not None and own <= (best.cost_per_step or 0.0):
        return None
    budget = next(budget for card, budget in cards if card is best)
    return plan_on_another_card(trials, _label(question), budget, best.step_s)


def _result(
    question: _Question,
    base: DeviceMemory,
    plan: Plan | None,
    cards: Sequence[tuple[CardChoice, MemoryBudget]],
) -> Advice:
    attempts, session = question.attempts, question.session
    _size_the_best(question, plan)
    made = ranked(attempts.made)
    weights = weight_dtypes(base.trace)
    known = {row.name: row.lever for one in made for row in one.rows}
    is_batch = question.axis is SearchAxis.BATCH
    baseline = trial_of(attempts.base, largest_is_batch=is_batch)
    capacity = base.batch_capacity
    note = base.budget.note
    return Advice(
        target=_label(question),
        goal=question.goal,
        gpu=base.budget.requested,
        gpu_name=base.budget.card.name,
        gpu_id=base.budget.spec.id,
        usable_memory_bytes=base.budget.usable_memory_bytes,
        reserve_bytes=base.budget.reserve_bytes,
        baseline=replace(
            baseline,
            fits=base.fits,
            max_batch_size=None if capacity is None else capacity.largest,
        ),
        plan=plan,
        trials=tuple(trial_of(one, largest_is_batch=is_batch) for one in made),
        levers=tuple(known.values()),
        other_cards=tuple(card for card, _ in cards),
        config=settled(question.asked.config, weights),
        versions=session.child.versions,
        assumptions=(
            *(() if note is None else (note,)),
            *base.trace.assumptions,
            *base.values.assumptions(),
            _BY_REPLAY,
            _SECONDS,
            *((SAME_KERNELS,) if cards else ()),
        ),
        notes=(*base.trace.notes, _BY_REPLAY, _SECONDS),
        warnings=(
            *base.trace.warnings,
            *base.values.warnings(),
            *dict.fromkeys(session.child.runner.warnings),
            *session.known.warnings,
        ),
        values=base.values,
        weight_dtypes=weights,
        model_arguments=question.asked.given,
    )


def _size_the_best(question: _Question, plan: Plan | None) -> None:
    """Forecasts the largest batch of the attempts that the table begins with.

    That of the plan is known from runs. Where the step has to fit and nothing more, a step that
    reads values of the card has none: its runs take long.
    """
    attempts = question.attempts
    best = [one for one in ranked(attempts.made) if one.has_figures and one.fits]
    for one in best[:_MOST_SIZED]:
        if plan is not None and plan.levers == tuple(row.name for row in one.rows):
            if question.axis is SearchAxis.BATCH:
                attempts.with_largest(one, plan.max_batch_size)
        elif question.goal is not Goal.FIT or not _reads_values(one):
            attempts.sized(one, question.axis)


def _reads_values(one: Attempt) -> bool:
    return one.tried.trace is not None and bool(one.tried.trace.value_reads)
