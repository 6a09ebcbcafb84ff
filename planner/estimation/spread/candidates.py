"""Orders spreads by arithmetic: what cannot fit, and what is run first.

In: Spreads, StepFacts for each level of checkpointing. Out: Candidates, the most promising first,
and SpreadTrials of those that fall out without a run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from planner.estimation.advice.combine import merged
from planner.estimation.job import JobConfig
from planner.estimation.spread.arithmetic import (
    NetworkOf,
    expected_bytes,
    expected_largest,
    expected_sample_s,
    floor_bytes,
)
from planner.estimation.spread.facts import StepFacts
from planner.estimation.spread.micro_batches import MicroBatches, micro_batches, share_of_rank
from planner.estimation.spread.spreads import Spread
from planner.memory.budget import MemoryBudget
from planner.results.parallelization import SpreadMethod, SpreadState, SpreadTrial
from planner.units import format_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A spread at a level of checkpointing, with the micro-batch to expect.

    `share` are the samples of a rank in a step, None: as many as fit. `may_fit`: by arithmetic the
    micro-batch fits. `sample_s` are the seconds to expect of a sample on all GPUs together, None
    where the step was not counted.
    """

    spread: Spread
    facts: StepFacts
    share: int | None
    micro: MicroBatches
    may_fit: bool
    expected_bytes: int
    sample_s: float | None

    @property
    def divides_layers(self) -> bool:
        """Returns whether messages that arithmetic leaves out may slow it down."""
        return self.spread.tensor > 1 or self.spread.context > 1

    @property
    def options(self) -> dict[str, Any]:
        """Returns the options of the library for it, without its micro-batch."""
        return {**merged(self.facts.rows), **self.facts.options, **self.spread.options}

    def trial(self, state: SpreadState, reason: str = "") -> SpreadTrial:
        """Returns it with what became of it, by arithmetic."""
        found = _trial(self.spread, self.facts, state, reason)
        return replace(found, batch_size=self.micro.batch_size, accumulate=self.micro.accumulate)


def _trial(spread: Spread, facts: StepFacts, state: SpreadState, reason: str) -> SpreadTrial:
    return SpreadTrial(
        gpus=spread.gpus,
        hosts=spread.hosts,
        parallel=spread.parallel,
        arguments=spread.arguments,
        checkpoint=facts.checkpoint,
        levers=tuple(row.name for row in facts.rows),
        state=state,
        reason=reason,
        method=SpreadMethod.ARITHMETIC,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """What is known before anything is run on several GPUs."""

    budget: MemoryBudget
    job: JobConfig
    network: NetworkOf
    global_batch: int | None


def too_large(spread: Spread, facts: StepFacts, field: Field) -> SpreadTrial | None:
    """Returns why the spread cannot fit, whatever its micro-batch; None: it may."""
    budget, least_bytes = field.budget, floor_bytes(spread, facts)
    if least_bytes <= budget.capacity_bytes:
        return None
    total_bytes = budget.device_total_bytes(least_bytes)
    found = _trial(
        spread,
        facts,
        SpreadState.TOO_LARGE,
        f"weights, gradients and optimizer state alone are {format_bytes(least_bytes)} a card",
    )
    return replace(
        found,
        device_total_bytes=total_bytes,
        over_bytes=total_bytes - budget.usable_memory_bytes + budget.reserve_bytes,
    )


def not_dealt_out(spread: Spread, facts: StepFacts, field: Field) -> SpreadTrial | None:
    """Returns why the requested samples cannot be dealt out to the ranks; None: they can."""
    if share_of_rank(field.global_batch, spread.sample_ranks) != 0:
        return None
    reason = (
        f"{field.global_batch} samples of a step cannot be dealt out equally to "
        f"{spread.sample_ranks} ranks"
    )
    return _trial(spread, facts, SpreadState.CANNOT_APPLY, reason)


def candidate_of(spread: Spread, facts: StepFacts, field: Field) -> Candidate:
    """Returns the spread with what arithmetic expects of it."""
    share = share_of_rank(field.global_batch, spread.sample_ranks)
    largest = expected_largest(spread, facts, field.budget.capacity_bytes)
    micro = micro_batches(share, max(1, largest))
    assert micro is not None, "one sample is a micro-batch"
    return Candidate(
        spread=spread,
        facts=facts,
        share=share,
        micro=micro,
        may_fit=largest >= 1,
        expected_bytes=expected_bytes(spread, facts, micro.batch_size),
        sample_s=expected_sample_s(
            spread,
            facts,
            micro,
            budget=field.budget,
            job=field.job,
            network=field.network,
        ),
    )


def in_order(candidates: Sequence[Candidate], *, by_gpus: bool) -> list[Candidate]:
    """Returns candidates, the most promising first: those that may fit, the fastest of them first.

    Of the others, those that take least come first.

    Spreads that divide layers come last, because arithmetic leaves out what these send. With
    `by_gpus` the time counts for each GPU, as a rent does.
    """

    def order(one: Candidate) -> tuple[bool, bool, float]:
        weight = one.spread.gpus if by_gpus else 1
        time_s = float("inf") if one.sample_s is None else one.sample_s * weight
        return not one.may_fit, one.divides_layers, time_s if one.may_fit else one.expected_bytes

    return sorted(candidates, key=order)


def levels_of(checkpoint_given: bool) -> Mapping[str, Mapping[str, Any]]:
    """Returns the options of each level of checkpointing; as requested where one was given."""
    if checkpoint_given:
        return {"as requested": {}}
    return {
        "none": {},
        "every:2": {"checkpoint_blocks": "every:2"},
        "all": {"checkpoint_activations": True},
    }
