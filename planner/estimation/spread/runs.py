"""Runs candidates: the largest micro-batch that fits by replay, its figures by a run and a count.

In: a Candidate, the trials of the step. Out: RunSpread. Convention: a step fits as `Trials` says:
its run without a limit takes no more than the card has, or a replay on the card does not fail.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from planner.cost.price import HourlyPrice
from planner.estimation.advice.trials import Trials, Tried
from planner.estimation.spread.candidates import Candidate
from planner.estimation.spread.micro_batches import MicroBatches, micro_batches, next_larger
from planner.results.advice import TrialState
from planner.results.parallelization import SpreadMethod, SpreadState, SpreadTrial
from planner.units import SECONDS_PER_HOUR

_MILLION = 1_000_000
_SMALLER_TRIED = 3  # micro-batches below that of a replay, which is seldom wrong
_STATES = {
    TrialState.FAILED: SpreadState.FAILED,
    TrialState.CANNOT_APPLY: SpreadState.CANNOT_APPLY,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSpread:
    """A candidate that was run. `changes` are its options with the micro-batch."""

    candidate: Candidate
    trial: SpreadTrial
    tried: Tried
    changes: Mapping[str, Any]

    @property
    def fits(self) -> bool:
        """Returns whether it fits."""
        return self.trial.state is SpreadState.FITS

    @property
    def sample_bytes(self) -> float:
        """Returns the memory of a card for each sample of a micro-batch; infinite: not known."""
        total_bytes, size = self.trial.device_total_bytes, self.trial.batch_size
        return float("inf") if total_bytes is None or not size else total_bytes / size

    def value(self, *, by_gpus: bool) -> float:
        """Returns what is to be small: seconds of a sample, with `by_gpus` of all GPUs."""
        sample_s = self.tried.sample_s
        if sample_s is None:
            return float("inf")
        return sample_s * (self.candidate.spread.gpus if by_gpus else 1)


def run_spread(trials: Trials, one: Candidate, price: HourlyPrice | None) -> RunSpread:
    """Runs a candidate at the largest micro-batch that fits, and counts it there.

    `price` is that of one GPU; None: not known.
    """
    first = trials.run(_changes(one, one.micro))
    if first.state is not TrialState.TRIED:
        return _without_figures(one, first)
    micro, largest, tried = _at_largest(trials, one, first)
    if micro is None:
        return _too_large(one, tried, largest)
    changes = _changes(one, micro)
    tried = trials.timed(changes)
    if tried.state is not TrialState.TRIED:
        return _without_figures(one, tried)
    trial = replace(one.trial(SpreadState.FITS), method=SpreadMethod.RUN, max_batch_size=largest)
    return counted_run(one, micro, trial, tried, changes, price)


def too_large_run(trials: Trials, one: Candidate) -> RunSpread | None:
    """Runs a candidate with one sample; returns the run if it does not fit, else None."""
    least = replace(one, micro=MicroBatches(batch_size=1, accumulate=1))
    tried = trials.run(_changes(least, least.micro))
    if tried.state is not TrialState.TRIED or tried.fits:
        return None
    return _too_large(least, tried, 0)


def counted_run(
    one: Candidate,
    micro: MicroBatches,
    trial: SpreadTrial,
    tried: Tried,
    changes: Mapping[str, Any],
    price: HourlyPrice | None = None,
) -> RunSpread:
    """Returns a run that fits, with its figures; without `price` the cost follows the time."""
    sample_s = tried.sample_s
    cost = _cost(one, tried, price)
    if cost is None and trial.cost_per_million and trial.samples_per_s and sample_s:
        factor = sample_s * trial.samples_per_s
        cost = (factor * trial.cost_per_million[0], factor * trial.cost_per_million[1])
    return RunSpread(
        candidate=one,
        tried=tried,
        changes=changes,
        trial=replace(
            trial,
            batch_size=micro.batch_size,
            accumulate=micro.accumulate,
            device_total_bytes=tried.total_bytes,
            step_s=tried.step_s,
            samples_per_s=None if sample_s is None else 1 / sample_s,
            cost_per_million=cost,
        ),
    )


def _changes(one: Candidate, micro: MicroBatches) -> dict[str, Any]:
    return {**one.options, "batch_size": micro.batch_size, "accumulate": micro.accumulate}


def _at_largest(
    trials: Trials, one: Candidate, first: Tried
) -> tuple[MicroBatches | None, int | None, Tried]:
    """Returns the micro-batch to take, the largest by replay, and the last run.

    No micro-batch: none fits. No largest: the requests of the step follow no rule.
    """
    if one.micro.batch_size == 1:
        following = next_larger(one.share, 1)
        if not first.fits:
            return None, 0, first
        if following is None:
            return one.micro, 1, first
        second = trials.run({**_changes(one, one.micro), "batch_size": following})
        if second.state is TrialState.TRIED and not second.fits:
            return one.micro, following - 1, first
    largest = trials.largest(first)
    start = one.micro.batch_size if largest is None else max(1, largest)
    micro, last = micro_batches(one.share, start), first  # only a run shows whether one fits
    for _ in range(_SMALLER_TRIED):
        if micro is None:
            break
        last = trials.run(_changes(one, micro))
        if last.fits or last.state is not TrialState.TRIED:
            return micro, largest, last
        micro = micro_batches(one.share, micro.batch_size - 1)
    return None, largest, last


def _without_figures(one: Candidate, tried: Tried) -> RunSpread:
    trial = one.trial(_STATES.get(tried.state, SpreadState.FAILED), tried.reason)
    return RunSpread(
        candidate=one,
        trial=replace(trial, method=SpreadMethod.RUN),
        tried=tried,
        changes=tried.changes,
    )


def _too_large(one: Candidate, tried: Tried, largest: int | None) -> RunSpread:
    budget, total_bytes = tried.budget, tried.total_bytes
    over_bytes = None
    if budget is not None and total_bytes is not None:
        over_bytes = max(0, total_bytes - budget.usable_memory_bytes + budget.reserve_bytes)
    micro = one.micro if tried.config is None else MicroBatches(
        batch_size=tried.config.batch_size, accumulate=tried.config.accumulate
    )  # fmt: skip
    trial = replace(
        one.trial(SpreadState.TOO_LARGE),
        method=SpreadMethod.RUN,
        batch_size=micro.batch_size,
        accumulate=micro.accumulate,
        max_batch_size=largest,
        device_total_bytes=total_bytes,
        over_bytes=over_bytes,
    )
    return RunSpread(candidate=one, trial=trial, tried=tried, changes=tried.changes)


def _cost(one: Candidate, tried: Tried, price: HourlyPrice | None) -> tuple[float, float] | None:
    """Returns the rent of all GPUs for a million samples, low and high; None: not known."""
    if price is None or tried.sample_s is None:
        return None
    hours = _MILLION * tried.sample_s / SECONDS_PER_HOUR
    low, high = price.for_hours(hours * one.spread.gpus)
    return low, high
