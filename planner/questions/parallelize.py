"""parallelize(): which strategy on these GPUs, with which micro-batch, and how to start it.

target, card, number of GPUs
  -> a child that loads the model; one run and one count on one card for each level of checkpointing
  -> spreads, ordered by arithmetic; the most promising are run
  -> where nothing fits, the same with levers that take less memory
  -> the plan, confirmed by runs on the full card; the fewest cards that fit
  -> Parallelization
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from planner.config.options import CurveOptions
from planner.config.parallel_words import parallel_config
from planner.config.parse import choice
from planner.config.step import Mode
from planner.config.weights import settled
from planner.errors import UsageError
from planner.estimation.advice.trials import Trials
from planner.estimation.one_card import one_named_card
from planner.estimation.request import EstimateRequest, request_with_one_setting
from planner.estimation.session import estimation_session
from planner.estimation.spread.answer import Answer, Question, answered
from planner.estimation.spread.search import OnSpread
from planner.results.parallelization import (
    Parallelization,
    PreferBy,
    SpreadState,
    SpreadTrial,
)
from planner.results.values import ValuesResult
from planner.wire.trace import StepTrace, weight_dtypes

if TYPE_CHECKING:
    from typing_extensions import Unpack

_ORDER = (
    SpreadState.FITS, SpreadState.SLOWER, SpreadState.TOO_LARGE, SpreadState.NOT_RUN,
    SpreadState.FAILED, SpreadState.CANNOT_APPLY,
)  # fmt: skip
_METHOD = (
    "spreads were compared by arithmetic, from runs on one card; the best were run as one rank, at "
    "the largest micro-batch by replay; the plan was run on the full card"
)


def parallelize(
    target: Any,
    *,
    gpu: str | None = None,
    num_gpus: int,
    num_hosts: int | None = None,
    global_batch: int | None = None,
    by: str | PreferBy = PreferBy.TIME,
    on_spread: OnSpread | None = None,
    **options: Unpack[CurveOptions],
) -> Parallelization:
    """Searches the strategy for so many GPUs: what fits, and is the fastest or the cheapest.

    `gpu` is one card, or "auto": that of this machine, which is also the default. `num_hosts` are
    machines with equally many GPUs each; None: as few as have at most 8. `global_batch` are the
    samples of an optimizer step, which each plan keeps; None: as many as fit. `by` is "time", or
    "cost": then fewer of the GPUs may be used. `on_spread` is called with each SpreadTrial that was
    run. All `options`: planner.config.options; the micro-batch and its accumulation are searched.

    Raises:
        PlannerError: see errors.py. A step that fits in no way is a result: plan is None.
    """
    wanted = choice(PreferBy, by, "by")
    hosts = _hosts(num_gpus, num_hosts)
    asked = _request(target, global_batch, options)
    card = one_named_card(gpu, asked, "parallelize", "a job has one kind of card")
    parallel = parallel_config(num_gpus, hosts, None, ())
    with (
        estimation_session(asked, [card], job=parallel) as session,
        Trials(target, options, asked, session) as trials,
    ):
        if parallel is not None:
            trials.network_of(parallel)  # before any run: the links are known
        question = Question(
            session=session,
            trials=trials,
            asked=asked,
            num_gpus=num_gpus,
            num_hosts=hosts,
            global_batch=global_batch,
            by=wanted,
            on_spread=on_spread or (lambda _: None),
        )
        return _result(question, answered(question))


def _hosts(num_gpus: int, num_hosts: int | None) -> int:
    """Returns the number of machines.

    Raises:
        UsageError: the GPUs cannot be dealt out equally to them, or are too few or too many.
    """
    if num_gpus == 1 and num_hosts in (None, 1):
        return 1
    found = None if num_gpus == 1 else parallel_config(num_gpus, num_hosts, None, ())
    if found is None:
        raise UsageError(
            f"{num_gpus} GPU (--num-gpus) cannot be on {num_hosts} machines (--num-hosts): take "
            f"--num-gpus {num_hosts}"
        )
    return found.hosts


def _request(target: Any, global_batch: int | None, options: CurveOptions) -> EstimateRequest:
    """Returns the step as requested.

    Raises:
        UsageError: it is no training step, or an option is one that is searched.
    """
    if global_batch is not None and global_batch < 1:
        raise UsageError(f"global_batch must be at least 1, not {global_batch} (--global-batch)")
    for name in ("batch_size", "accumulate"):
        value: Any = options.get(name)
        if value is not None and value != 1:
            raise UsageError(
                f"{name} {value!r} was given, and planner parallelize searches it: say the samples "
                "of a step with --global-batch (global_batch=), or leave it out"
            )
    asked = request_with_one_setting(target, **options)
    if asked.config.mode is not Mode.TRAIN:
        raise UsageError(
            "planner parallelize spreads a training step, and mode is infer (--mode): leave it out"
        )
    return asked


def _result(question: Question, answer: Answer) -> Parallelization:
    session, asked, budget = question.session, question.asked, question.trials.budget
    facts = answer.searches[0].facts[0]
    trace: StepTrace = facts.recorded.trace
    if answer.best is not None:
        trace = answer.best.run.tried.trace or trace
    weights = weight_dtypes(facts.recorded.trace)
    values = ValuesResult(
        reads=trace.value_reads,
        data_dependent=asked.config.data_dependent,
        parted=trace.parted_reads,
    )
    rows = [row for one in answer.searches for facts in one.facts for row in facts.rows]
    note = () if budget.note is None else (budget.note,)
    return Parallelization(
        target=session.child.label,
        by=question.by,
        gpu=budget.requested,
        gpu_name=budget.card.name,
        gpu_id=budget.spec.id,
        usable_memory_bytes=budget.usable_memory_bytes,
        reserve_bytes=budget.reserve_bytes,
        num_gpus=question.num_gpus,
        num_hosts=question.num_hosts,
        global_batch=question.global_batch,
        plan=answer.plan,
        spreads=_ordered(question, answer),
        held=tuple(one.facts[0].held for one in answer.searches if one.facts),
        smallest=tuple(answer.smallest),
        levers=tuple({row.name: row.lever for row in rows}.values()),
        config=settled(asked.config, weights),
        versions=session.child.versions,
        assumptions=(
            *note,
            *trace.assumptions,
            *values.assumptions(),
            *_network_words(question, answer),
            _METHOD,
        ),
        notes=(*trace.notes, _METHOD),
        warnings=(
            *trace.warnings,
            *values.warnings(),
            *dict.fromkeys(session.child.runner.warnings),
            *session.known.warnings,
        ),
        values=values,
        weight_dtypes=weights,
        model_arguments=asked.given,
    )


def _network_words(question: Question, answer: Answer) -> tuple[str, ...]:
    """Returns what is assumed of the links of the plan."""
    best = answer.best
    if best is None or best.run.tried.config is None or best.run.tried.counted is None:
        return ()
    parallel = best.run.tried.config.parallel
    if parallel is None:
        return ()
    network = question.trials.network_of(parallel)
    return network.words(question.trials.budget.spec, best.run.tried.counted.collectives)


def _ordered(question: Question, answer: Answer) -> tuple[SpreadTrial, ...]:
    """Returns all spreads, the plan first, then those that fit, the others by their state."""
    best = None if answer.best is None else answer.best.run
    of_best = None if best is None else best.value(by_gpus=False)
    found: list[tuple[float, SpreadTrial]] = []
    for search in answer.searches:
        for run in search.runs:
            own = run.value(by_gpus=False)
            factor = own / of_best if of_best and own != float("inf") else None
            place = -1.0 if run is best else run.value(by_gpus=question.by_gpus)
            found.append((place, replace(run.trial, slower_factor=factor)))
        found += [(float("inf"), one) for one in search.others]
    found.sort(key=lambda one: (_ORDER.index(one[1].state), one[0], one[1].over_bytes or 0))
    return tuple(trial for _, trial in found)
