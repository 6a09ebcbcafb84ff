"""Confirms a plan by runs on the full card: it fits, and the next larger micro-batch does not.

In: a run that fits. Out: Confirmed. Convention: the next micro-batch is the next one that could
have been taken; a run refuses it only where memory is the limit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from planner.estimation.advice.trials import Trials
from planner.estimation.device_memory import model_error
from planner.estimation.probes import probe_of
from planner.estimation.ranks import with_worst_rank
from planner.estimation.spread.micro_batches import MicroBatches, micro_batches, next_larger
from planner.estimation.spread.runs import RunSpread, counted_run
from planner.memory.probe import ProbeOutcome
from planner.wire.trace import StepTrace

_MOST_MOVES = 3  # to smaller or larger micro-batches


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmed:
    """A plan that a run on the full card has shown to fit.

    `refused` is the next larger micro-batch, which a run refused for memory; None: it was not run,
    or fits too.
    """

    run: RunSpread
    refused: int | None


def confirmed(trials: Trials, found: RunSpread) -> Confirmed | None:
    """Runs the plan on the full card, and the next larger micro-batch; None: it does not fit.

    A replay is seldom wrong; where it was, the next smaller or larger micro-batch is taken.
    """
    refused: int | None = None
    full: StepTrace | None = None
    for _ in range(_MOST_MOVES):
        size = found.changes["batch_size"]
        full = _full_card(trials, found, size)
        if full is not None:
            break
        refused = size
        smaller = micro_batches(found.candidate.share, size - 1)
        if smaller is None:
            return None
        found = _at(trials, found, smaller)
    if full is None:
        return None
    for _ in range(_MOST_MOVES):
        larger = next_larger(found.candidate.share, found.changes["batch_size"])
        if refused is not None or larger is None or found.trial.max_batch_size is None:
            break
        more = _full_card(trials, found, larger)
        if more is None:
            refused = larger
        else:
            share, full = found.candidate.share, more
            times = 1 if share is None else share // larger
            found = _at(trials, found, MicroBatches(batch_size=larger, accumulate=times))
    return Confirmed(run=_with_full_card(found, full), refused=refused)


def _full_card(trials: Trials, found: RunSpread, size: int) -> StepTrace | None:
    """Runs a micro-batch of this size on the full card; None: it does not fit."""
    asked = trials.request_of({**found.changes, "batch_size": size})
    budget = found.tried.budget or trials.budget
    setup = with_worst_rank(trials.setup_of(asked), trials.budget).setup
    trace = setup.runner.run(setup.cards.limited(budget), setup.config)
    outcome = probe_of(size, trace).outcome
    if outcome is ProbeOutcome.OOM:
        return None
    if outcome is not ProbeOutcome.FITS:
        raise model_error(trace)
    return trace


def _with_full_card(found: RunSpread, full: StepTrace) -> RunSpread:
    """Returns it with the peaks of the full card, where the allocator gives cached memory back."""
    tried = found.tried
    budget = tried.budget
    peak_bytes = tried.peak_reserved_bytes
    if budget is None or peak_bytes is None or peak_bytes <= budget.capacity_bytes:
        return found  # no allocation would have failed on the card: the same run
    total_bytes = budget.device_total_bytes(full.peak_reserved_bytes)
    return replace(
        found,
        tried=replace(
            tried,
            trace=full,
            peak_reserved_bytes=full.peak_reserved_bytes,
            total_bytes=total_bytes,
        ),
        trial=replace(found.trial, device_total_bytes=total_bytes),
    )


def _at(trials: Trials, found: RunSpread, micro: MicroBatches) -> RunSpread:
    """Returns it with another micro-batch."""
    changes = {
        **found.changes,
        "batch_size": micro.batch_size,
        "accumulate": micro.accumulate,
    }
    return counted_run(found.candidate, micro, found.trial, trials.timed(changes), changes)
