"""The runs of one step on one card, at other batches or sequence lengths than the one asked for.

In: the budget of the card and the setup of the step. Out: samples for a replay, and probes that
show what fits. Whether a step fits is decided by PyTorch's own allocator on a card of that size,
with its rule to free cached segments and try again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from planner.config.step import StepConfig
from planner.estimation.context import RunContext, side_by_side
from planner.memory.allocator.replay import requests_of
from planner.memory.budget import MemoryBudget
from planner.memory.largest import ProbeFns
from planner.memory.scaling import Sample
from planner.memory.search import Probe, Verdict
from planner.wire.trace import Outcome, RequestLog, StepTrace


class SearchAxis(Enum):
    """What is made larger until it fits no more: its name, and how much of it counts as 1."""

    BATCH = "batch", 1
    # Kernels of attention round up to 128 tokens: a longest sequence is a multiple.
    SEQUENCE = "sequence length", 128

    @property
    def label(self) -> str:
        """The axis in words."""
        return self.value[0]

    @property
    def unit(self) -> int:
        """Samples or tokens in 1 of the axis."""
        return self.value[1]

    def at(self, config: StepConfig, value: int) -> StepConfig:
        """The step with `value` units."""
        size = value * self.unit
        if self is SearchAxis.BATCH:
            return replace(config, batch_size=size)
        return replace(config, sequence_length=size)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeRuns:
    """Runs of a step along an axis, on one card."""

    setup: RunContext
    budget: MemoryBudget
    axis: SearchAxis

    def tries(self) -> ProbeFns:
        """The runs as the search wants them."""
        return ProbeFns(
            samples=lambda values: side_by_side(self._sample, values),
            probes=lambda values: side_by_side(self._probe, values),
        )

    def _sample(self, value: int) -> Sample | None:
        self._say(f"recording {self.axis.label} {value * self.axis.unit}")
        setup = self.setup
        config = self.axis.at(setup.config, value)
        trace, log = setup.runner.requests(setup.cards.unlimited(self.budget), config)
        if log is None or trace.outcome is not Outcome.COMPLETED:
            return None
        return sample_of(value, log)

    def _probe(self, value: int) -> Probe:
        self._say(f"searching the largest {self.axis.label}: trying {value * self.axis.unit}")
        setup = self.setup
        config = self.axis.at(setup.config, value)
        return probe_of(value, setup.runner.run(setup.cards.limited(self.budget), config))

    def _say(self, text: str) -> None:
        self.setup.progress(f"{self.budget.requested}: {text}")


def sample_of(value: int, log: RequestLog) -> Sample:
    """The requests of a run; of a size that cuDNN has named, they are taken for its workspaces."""
    requests, sizes = tuple(requests_of(log)), frozenset(log.workspace_sizes_bytes)
    workspaces = frozenset(request.block for request in requests if request.size_bytes in sizes)
    return Sample(value=value, requests=requests, workspaces=workspaces)


def probe_of(value: int, trace: StepTrace) -> Probe:
    """What a run on the card shows of a value."""
    if trace.outcome is Outcome.COMPLETED and trace.outside.beyond_bytes:
        return Probe(value=value, verdict=Verdict.OUT_OF_MEMORY)  # not all of it is on the card
    if trace.outcome is Outcome.COMPLETED:
        # Not reserved: near the limit the allocator gives cached segments back.
        total_bytes = trace.peak_allocated_bytes
        return Probe(value=value, verdict=Verdict.FITS, total_bytes=total_bytes)
    if trace.outcome is Outcome.OUT_OF_MEMORY:
        return Probe(value=value, verdict=Verdict.OUT_OF_MEMORY)
    assert trace.failure is not None
    detail = f"{trace.failure.kind}: {trace.failure.message}".splitlines()[0]
    return Probe(value=value, verdict=Verdict.ERROR, detail=detail)
