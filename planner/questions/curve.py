"""curve(): throughput, memory, energy and cost of a step on one card, against the batch.

target, card, batches, options
  -> a child that loads the model; the card's runs and search; at the same time a counted run
  -> at every batch: memory by the replay of the search or by a run, time by counted operators
  -> Curve
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from planner.config.options import CurveOptions
from planner.config.step import Mode, StepConfig
from planner.config.weights import settled
from planner.errors import UsageError
from planner.estimation.batch_counts import BatchCounts
from planner.estimation.batch_memory import BatchMemory
from planner.estimation.batch_timing import BatchSpeeds, doublings
from planner.estimation.context import side_by_side
from planner.estimation.device_memory import DeviceMemory, DeviceMemorySearch
from planner.estimation.device_timing import DeviceTiming
from planner.estimation.job import JobConfig
from planner.estimation.one_card import one_named_card
from planner.estimation.request import request_with_one_setting
from planner.estimation.session import EstimationSession, beside, estimation_session
from planner.results.curve import Curve, CurvePoint, knee, recommendation
from planner.wire.trace import weight_dtypes

if TYPE_CHECKING:
    from typing_extensions import Unpack

_MOST_BATCHES = 64
_BY_REPLAY = (
    "memory comes from a replay of a few runs, or from a run of the batch where a replay would be "
    "a guess; times come from the operators of counted batches"
)


def curve(
    target: Any,
    *,
    gpu: str | None = None,
    batches: Sequence[int] | None = None,
    global_batch: int | None = None,
    **options: Unpack[CurveOptions],
) -> Curve:
    """Runs the step on one emulated card, and predicts its speed and memory at each batch.

    `gpu` is one card, or "auto": that of this machine, which is also the default. `batches` are by
    default powers of two to beyond the knee, the largest batch that fits, and batch_size.
    `global_batch` is kept by accumulation, as the recommendation says. All `options`:
    planner.config.options.

    Raises:
        PlannerError: see errors.py. A batch that does not fit is a point of the curve.
    """
    wanted = None if batches is None else _checked(batches)
    asked = request_with_one_setting(target, **options)
    card = one_named_card(gpu, asked, "curve", "a curve is of one card")
    _check_global(global_batch, asked.config)
    with estimation_session(asked, [card]) as step:
        request = step.measured_request()  # before other runs take processors
        (budget,) = step.known.budgets
        counts = step.counts(budget)
        counting = beside(lambda: counts.counted(step.setup.config.batch_size))
        answer = DeviceMemorySearch(setup=step.setup, budget=budget).answer(
            search=True, sequence=False
        )
        counting.result()
        found = _curve(step, request, answer, counts, wanted, global_batch)
    return replace(found, model_arguments=asked.given)


def _checked(batches: Sequence[int]) -> tuple[int, ...]:
    """Returns each batch once, in rising order.

    Raises:
        UsageError: no batches, too many, or a value that is not a batch.
    """
    if isinstance(batches, str) or not isinstance(batches, Sequence):
        raise UsageError(f"batches must be whole numbers like [1, 8, 64], not {batches!r}")
    for batch in batches:
        if isinstance(batch, bool) or not isinstance(batch, int) or batch < 1:
            raise UsageError(f"a batch must be a whole number of at least 1, not {batch!r}")
    distinct = tuple(sorted(set(batches)))
    if not 0 < len(distinct) <= _MOST_BATCHES:
        raise UsageError(f"give 1 to {_MOST_BATCHES} batches, not {len(distinct)}")
    return distinct


def _check_global(global_batch: int | None, config: StepConfig) -> None:
    """Raises UsageError if this step cannot keep the global batch, before anything is run."""
    if global_batch is None:
        return
    if isinstance(global_batch, bool) or not isinstance(global_batch, int):
        raise UsageError(f"global_batch must be a whole number, not {global_batch!r}")
    recommendation((), global_batch)  # refuses a batch below 1
    if config.mode is Mode.INFER:
        raise UsageError(
            f"a global batch of {global_batch} was asked for: it is kept by accumulating "
            "gradients, which inference has none of; leave it out"
        )
    if config.accumulate != 1:
        raise UsageError(
            f"a global batch of {global_batch} was asked for, and to accumulate "
            f"{config.accumulate}: the curve says how often to accumulate, leave that out"
        )


def _curve(
    step: EstimationSession,
    request: JobConfig,
    answer: DeviceMemory,
    counts: BatchCounts,
    wanted: tuple[int, ...] | None,
    global_batch: int | None,
) -> Curve:
    config, budget = step.setup.config, answer.budget
    memory = BatchMemory(setup=step.setup, answer=answer)
    speeds = BatchSpeeds(
        config=config,
        counts=counts,
        request=request,
        answer=answer,
        failures={},
    )
    worth = wanted or _worth(speeds, memory.largest)
    found = {batch: speeds.at(batch, fits=memory.fits(batch)) for batch in worth}
    there = {batch: one for batch, one in found.items() if one is not None}
    points = _points(there, memory)
    best = recommendation(points, global_batch)
    weights = weight_dtypes(answer.trace)
    prices = [one.cost.price for one in there.values() if one.cost.price is not None]
    return Curve(
        target=step.child.label,
        gpu=budget.requested,
        gpu_name=budget.card.name,
        gpu_id=budget.spec.id,
        points=points,
        largest_batch_size=memory.largest,
        largest_batch_is_bound=memory.largest_is_bound,
        knee=knee(points),
        recommended_batch_size=best.batch_size,
        accumulate=best.accumulate,
        global_batch_size=global_batch,
        usable_memory_bytes=budget.usable_memory_bytes,
        currency=prices[0].currency if prices else None,
        config=settled(config, weights),
        versions=step.child.versions,
        assumptions=_assumptions(answer, there),
        notes=(*answer.trace.notes, *_of_speeds(there, lambda one: one.notes)),
        warnings=(
            *answer.trace.warnings,
            *answer.values.warnings(),
            *step.child.runner.warnings,
            *step.known.warnings,
            *speeds.failures.values(),
        ),
        values=answer.values,
        weight_dtypes=weights,
    )


def _worth(speeds: BatchSpeeds, largest: int | None) -> list[int]:
    """Returns the batches of a curve where none were given."""
    others = {speeds.config.batch_size, largest or 1}
    return sorted(others.union(doublings(speeds.samples_per_s, largest)))


def _points(found: dict[int, DeviceTiming], memory: BatchMemory) -> tuple[CurvePoint, ...]:
    totals = side_by_side(memory.device_total_bytes, list(found))
    return tuple(
        _point(batch, found[batch], total_bytes, fits=memory.fits(batch))
        for batch, total_bytes in zip(found, totals, strict=True)
    )


def _point(
    batch: int, found: DeviceTiming, device_total_bytes: int | None, *, fits: bool
) -> CurvePoint:
    return CurvePoint(
        batch_size=batch,
        step_s=found.time.step_s,
        samples_per_s=found.time.samples_per_s,
        device_total_bytes=device_total_bytes,
        fits=fits,
        bound=found.time.bottleneck.bound.value,
        joule_per_sample=found.cost.joule_per_sample,
        cost_per_sample=found.cost.cost_per_sample,
    )


def _assumptions(answer: DeviceMemory, found: dict[int, DeviceTiming]) -> tuple[str, ...]:
    note = answer.budget.note
    return (
        *(() if note is None else (note,)),
        *answer.trace.assumptions,
        *answer.values.assumptions(),
        _BY_REPLAY,
        *_of_speeds(found, lambda one: one.assumptions),
        *_of_speeds(found, lambda one: one.cost.basis),
    )


def _of_speeds(
    found: dict[int, DeviceTiming], texts: Callable[[DeviceTiming], Sequence[str]]
) -> tuple[str, ...]:
    """Returns the texts of all batches, once each."""
    return tuple(dict.fromkeys(text for one in found.values() for text in texts(one)))
