"""Forecasts the largest batch or sequence of a step that was run once, by replay of few runs.

In: the trace and the requests of that run. Out: a number, not confirmed by runs on the card.
"""

from __future__ import annotations

from planner.estimation.context import RunContext
from planner.estimation.probes import ProbeRuns, SearchAxis
from planner.memory.budget import MemoryBudget
from planner.memory.largest import SearchStart, forecasts
from planner.memory.scaling import FIRST_ALIKE, Sample
from planner.memory.search import BOUND
from planner.wire.trace import StepTrace

# For each parameter: weight, gradient and two states of Adam in float32. Used only for a guess.
_BYTES_PER_PARAMETER = 16
_MOST = 1 << 20


def forecast_largest(
    setup: RunContext,
    budget: MemoryBudget,
    axis: SearchAxis,
    trace: StepTrace,
    sample: Sample | None,
) -> int | None:
    """Returns the largest size along `axis` that fits on the card.

    0: not even the smallest sample fits; None: its requests follow no rule, or have no limit.
    `sample` is the run of `trace`, None where its size is not a multiple of the axis's unit.
    """
    values = _values(setup, budget, axis, trace)
    runs = ProbeRuns(setup=setup, budget=budget, axis=axis)
    found = forecasts(
        runs.tries(),
        [setup.replayed_card(budget)],
        SearchStart(
            values=values,
            sample=sample if sample is not None and sample.value in values else None,
            known=(),
            start=values[0],
        ),
    )
    if found is None or found[0].has_no_limit or found[0].capacity.largest >= BOUND:
        return None
    largest = found[0].capacity.largest
    if not largest and axis is SearchAxis.BATCH and values[0] > FIRST_ALIKE:
        return _of_small_batches(setup, budget, values[0])
    return largest * axis.unit


def _of_small_batches(setup: RunContext, budget: MemoryBudget, asked: int) -> int | None:
    """Searches below the requested batch, from two small samples."""
    runs = ProbeRuns(setup=setup, budget=budget, axis=SearchAxis.BATCH)
    values = (FIRST_ALIKE, max(FIRST_ALIKE + 1, asked // 2))
    beginning = SearchStart(values=values, sample=None, known=(), start=FIRST_ALIKE)
    found = forecasts(runs.tries(), [setup.replayed_card(budget)], beginning)
    return None if found is None else found[0].capacity.largest


def _values(
    setup: RunContext, budget: MemoryBudget, axis: SearchAxis, trace: StepTrace
) -> tuple[int, ...]:
    """Returns the sizes to sample, in units of the axis: the requested one, and one that fills."""
    if axis is SearchAxis.SEQUENCE:
        assert setup.config.sequence_length is not None
        asked = max(1, setup.config.sequence_length // axis.unit)
        return (asked, 2 * asked, 3 * asked)
    asked = setup.config.batch_size
    parameters = 0 if trace.counts is None else trace.counts.parameters
    fixed = min(_BYTES_PER_PARAMETER * parameters, trace.peak_allocated_bytes * 7 // 8)
    growing = max(1, trace.peak_allocated_bytes - fixed)
    guess = (budget.capacity_bytes - fixed) * asked // growing
    second = max(FIRST_ALIKE, min(guess, _MOST))
    first = max(FIRST_ALIKE, asked)
    return (first, second if second != first else first + 1)
