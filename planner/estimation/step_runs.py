"""The runs of one step on one card, at other batches or sequence lengths than the one asked for.

In: the card's budget and a Runner. Out: samples for a replay, and probes that show what fits.
Whether a step fits is decided by PyTorch's own allocator on a card of that size, with its rule to
free cached segments and try again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from enum import Enum
from typing import TypeVar

from planner.device.build import EmulatedDevice
from planner.device.profile import UNLIMITED_BYTES, device_profile
from planner.device.runner import Runner
from planner.device.torch_install import TorchInstall
from planner.memory.budget import MemoryBudget
from planner.memory.capacity import Probe, Verdict
from planner.memory.largest import Tries
from planner.memory.replay import requests_of
from planner.memory.scaling import Sample
from planner.trace import Outcome, RequestLog, StepTrace
from planner.workload import StepConfig

Progress = Callable[[str], None]
_Asked = TypeVar("_Asked")
_Answer = TypeVar("_Answer")


class Axis(Enum):
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
        if self is Axis.BATCH:
            return replace(config, batch_size=size)
        return replace(config, sequence_length=size)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cards:
    """Makes profiles of the emulated device for cards, with and without their limit."""

    torch: TorchInstall
    device: EmulatedDevice

    def unlimited(self, budget: MemoryBudget) -> str:
        """The card with memory enough for anything: shows what a step takes."""
        return self._profile(budget, UNLIMITED_BYTES)

    def limited(self, budget: MemoryBudget) -> str:
        """The card as it is: allocations beyond its capacity fail."""
        return self._profile(budget, budget.capacity_bytes)

    def _profile(self, budget: MemoryBudget, capacity_bytes: int) -> str:
        return device_profile(
            budget.card,
            torch=self.torch,
            device=self.device,
            total_memory_bytes=budget.usable_memory_bytes,
            capacity_bytes=capacity_bytes,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRuns:
    """Runs of `config` along an axis, on one card."""

    budget: MemoryBudget
    config: StepConfig
    axis: Axis
    runner: Runner
    cards: Cards
    progress: Progress

    def tries(self) -> Tries:
        """The runs as the search wants them."""
        return Tries(
            samples=lambda values: side_by_side(self._sample, values),
            probes=lambda values: side_by_side(self._probe, values),
        )

    def _sample(self, value: int) -> Sample | None:
        self._say(f"recording {self.axis.label} {value * self.axis.unit}")
        trace, log = self.runner.requests(
            self.cards.unlimited(self.budget), self.axis.at(self.config, value)
        )
        if log is None or trace.outcome is not Outcome.COMPLETED:
            return None
        return sample_of(value, log)

    def _probe(self, value: int) -> Probe:
        self._say(f"searching the largest {self.axis.label}: trying {value * self.axis.unit}")
        config = self.axis.at(self.config, value)
        return probe_of(value, self.runner.run(self.cards.limited(self.budget), config))

    def _say(self, text: str) -> None:
        self.progress(f"{self.budget.requested}: {text}")


def sample_of(value: int, log: RequestLog) -> Sample:
    """The requests of a run; of a size that cuDNN has named, they are taken for its workspaces."""
    requests, sizes = tuple(requests_of(log)), frozenset(log.workspace_sizes_bytes)
    workspaces = frozenset(request.block for request in requests if request.size_bytes in sizes)
    return Sample(value=value, requests=requests, workspaces=workspaces)


def probe_of(value: int, trace: StepTrace) -> Probe:
    """What a run on the card shows of a value."""
    if trace.outcome is Outcome.COMPLETED:
        # Not reserved: near the limit the allocator gives cached segments back.
        total_bytes = trace.peak_allocated_bytes
        return Probe(value=value, verdict=Verdict.FITS, total_bytes=total_bytes)
    if trace.outcome is Outcome.OUT_OF_MEMORY:
        return Probe(value=value, verdict=Verdict.OUT_OF_MEMORY)
    assert trace.failure is not None
    detail = f"{trace.failure.kind}: {trace.failure.message}".splitlines()[0]
    return Probe(value=value, verdict=Verdict.ERROR, detail=detail)


def side_by_side(answer: Callable[[_Asked], _Answer], asked: Sequence[_Asked]) -> list[_Answer]:
    """Answers in order; as many at a time as there are processors. The first error ends all."""
    if len(asked) < 2:
        return [answer(one) for one in asked]
    pool = ThreadPoolExecutor(max_workers=min(len(asked), len(os.sched_getaffinity(0))))
    try:
        return list(pool.map(answer, asked))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
