"""Runs one step on one card, at another batch, length or size of an image than the requested one.

In: the budget of the card and the setup of the step. Out: samples for a replay, and probes that
show which values fit. PyTorch's own allocator decides on a card of that size whether a step fits,
with its rule to free cached segments and try again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Protocol

from planner.config.step import StepConfig
from planner.errors import LengthError
from planner.estimation.context import RunContext, side_by_side
from planner.memory.allocator.replay import requests_of
from planner.memory.budget import MemoryBudget
from planner.memory.largest import ProbeFns
from planner.memory.probe import Probe, ProbeOutcome, is_about_memory, probe_outcome
from planner.memory.scaling import Sample
from planner.wire.trace import RequestLog, RunOutcome, StepTrace


class Axis(Protocol):
    """A quantity that a search increases until it no longer fits, in whole units."""

    @property
    def label(self) -> str:
        """Returns the axis in words."""
        ...

    @property
    def unit(self) -> int:
        """Returns the least step of `size_of`."""
        ...

    @property
    def degree(self) -> int:
        """Returns the degree of the polynomial in the axis that sizes of tensors follow."""
        ...

    def size_of(self, config: StepConfig) -> int:
        """Returns the requested quantity; a value is a number of units of it."""
        ...

    def at(self, config: StepConfig, value: int) -> StepConfig:
        """Returns the step with `value` units."""
        ...

    def words(self, value: int) -> str:
        """Returns the quantity of `value` units in words."""
        ...


class SearchAxis(Enum):
    """The quantity that a search increases until it no longer fits: its name and its unit."""

    BATCH = "batch", 1
    # Attention kernels round up to 128 tokens: the longest sequence is a multiple of that.
    SEQUENCE = "sequence length", 128

    @property
    def label(self) -> str:
        """Returns the axis in words."""
        return self.value[0]

    @property
    def unit(self) -> int:
        """Returns the samples or tokens in one unit of the axis."""
        return self.value[1]

    @property
    def degree(self) -> int:
        """Returns the degree of the polynomial in the axis that sizes of tensors follow."""
        return 1 if self is SearchAxis.BATCH else 2

    def size_of(self, config: StepConfig) -> int:
        """Returns the requested samples or tokens."""
        size = config.batch_size if self is SearchAxis.BATCH else config.sequence_length
        assert size is not None, "the axis needs a length that was asked for"
        return size

    def words(self, value: int) -> str:
        """Returns the samples or tokens of `value` units."""
        return str(value * self.unit)

    def at(self, config: StepConfig, value: int) -> StepConfig:
        """Returns the step with `value` units."""
        size = value * self.unit
        if self is SearchAxis.BATCH:
            return replace(config, batch_size=size)
        return replace(config, sequence_length=size)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeRuns:
    """Runs a step along an axis, on one card."""

    setup: RunContext
    budget: MemoryBudget
    axis: Axis

    def tries(self) -> ProbeFns:
        """Returns the runs as functions for the search."""
        return ProbeFns(
            samples=lambda values: side_by_side(self._sample, values),
            probes=lambda values: side_by_side(self._probe, values),
            probes_and_sample=self._probes_and_sample,
        )

    def _probes_and_sample(
        self, values: Sequence[int], sampled: int
    ) -> tuple[list[Probe], Sample | None]:
        def run(value: int | None) -> Probe | Sample | None:
            return self._sample(sampled) if value is None else self._probe(value)

        *found, sample = side_by_side(run, [*values, None])
        assert not isinstance(sample, Probe), "the sample is the last of the runs"
        return [probe for probe in found if isinstance(probe, Probe)], sample

    def _sample(self, value: int) -> Sample | None:
        self._say(f"recording {self.axis.label} {self.axis.words(value)}")
        setup = self.setup
        config = self.axis.at(setup.config, value)
        try:
            trace, log = setup.runner.requests(setup.cards.unlimited(self.budget), config)
        except LengthError:
            return None
        if log is None or trace.outcome is not RunOutcome.COMPLETED:
            return None
        return sample_of(value, log)

    def _probe(self, value: int) -> Probe:
        self._say(f"searching the largest {self.axis.label}: trying {self.axis.words(value)}")
        setup = self.setup
        config = self.axis.at(setup.config, value)
        try:
            return probe_of(value, setup.runner.run(setup.cards.limited(self.budget), config))
        except LengthError as error:
            return Probe(value=value, outcome=ProbeOutcome.MODEL_ERROR, detail=str(error))

    def _say(self, text: str) -> None:
        self.setup.progress(f"{self.budget.requested}: {text}")


def sample_of(value: int, log: RequestLog) -> Sample:
    """Returns the requests of a run; those of a size named by cuDNN count as its workspaces."""
    requests, sizes = tuple(requests_of(log)), frozenset(log.workspace_sizes_bytes)
    workspaces = frozenset(request.block for request in requests if request.size_bytes in sizes)
    return Sample(value=value, requests=requests, workspaces=workspaces)


def probe_of(value: int, trace: StepTrace) -> Probe:
    """Returns the result of a run on the card as the probe of a value."""
    outcome = probe_outcome(trace.outcome)
    if outcome is ProbeOutcome.FITS and trace.outside.beyond_bytes:
        return Probe(value=value, outcome=ProbeOutcome.OOM)  # not all of it is on the card
    if outcome is ProbeOutcome.FITS:
        # Not reserved: near the limit the allocator gives cached segments back.
        return Probe(value=value, outcome=outcome, total_bytes=trace.peak_allocated_bytes)
    if is_about_memory(outcome):
        return Probe(value=value, outcome=outcome)
    assert trace.failure is not None
    detail = f"{trace.failure.kind}: {trace.failure.message}".splitlines()[0]
    return Probe(value=value, outcome=outcome, detail=detail)
