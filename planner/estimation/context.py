"""Holds one step and everything needed to run it on emulated cards.

In: the step's config, the allocator's settings, a child that has loaded the target. Out: profiles
of cards, and answers made in parallel.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from planner.config.step import StepConfig
from planner.emulator.build import EmulatedDevice
from planner.emulator.profile import UNLIMITED_BYTES, device_profile
from planner.emulator.torch_install import TorchInstall
from planner.estimation.alloc_conf import AllocatorPlan
from planner.memory.budget import MemoryBudget, with_outside
from planner.memory.largest import ReplayTarget
from planner.process.step_runner import StepRunner
from planner.wire.trace import StepTrace

if TYPE_CHECKING:
    from planner.estimation.network import Network
    from planner.estimation.size_axes import SizeAxis

Progress = Callable[[str], None]
_Asked = TypeVar("_Asked")
_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileFactory:
    """Makes profiles of the emulated device for cards, with and without their limit."""

    torch: TorchInstall
    device: EmulatedDevice

    def unlimited(self, budget: MemoryBudget) -> str:
        """Returns the card with enough memory for any step: its run shows what the step takes."""
        return self._profile(budget, UNLIMITED_BYTES)

    def limited(self, budget: MemoryBudget) -> str:
        """Returns the card with its own memory: allocations beyond its capacity fail.

        What other libraries allocate is counted by the emulated card; NCCL's buffers are not there.
        """
        return self._profile(budget, max(0, budget.allocatable_bytes - budget.nccl_bytes))

    def _profile(self, budget: MemoryBudget, capacity_bytes: int) -> str:
        return device_profile(
            budget.card,
            torch=self.torch,
            device=self.device,
            total_memory_bytes=budget.usable_memory_bytes,
            capacity_bytes=capacity_bytes,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContext:
    """The requested step, and the means to run it; shared by the runs of all cards.

    `network` joins the GPUs of a job on several; None: it runs on one. `wrapped` makes of the runs
    of a child those of the step, where they are parts of it. With `confirms`, a run on a card with
    its limit runs the whole step. `size_axes` are sizes of an image or clip that are searched
    besides the batch.
    """

    config: StepConfig
    plan: AllocatorPlan
    runner: StepRunner
    cards: ProfileFactory
    progress: Progress
    network: Network | None = None
    wrapped: Callable[[StepRunner], StepRunner] = lambda runner: runner
    confirms: bool = True
    size_axes: tuple[SizeAxis, ...] = ()

    def over(self, runner: StepRunner) -> RunContext:
        """Returns the same step, run by another runner."""
        return replace(self, runner=self.wrapped(runner))

    def with_outside(self, budget: MemoryBudget, trace: StepTrace) -> MemoryBudget:
        """Returns the card with what a run takes outside PyTorch's allocator, NCCL included."""
        between_bytes = (0, 0)
        if self.network is not None:
            found = self.network.memory(budget.spec, trace.communicators)
            between_bytes = (found.low_bytes, found.high_bytes)
        return with_outside(budget, trace.outside.total_bytes, between_bytes)

    def replayed_card(self, budget: MemoryBudget) -> ReplayTarget:
        """Returns the card in the form a replay needs, under the allocator's setting in force."""
        return ReplayTarget(
            capacity_bytes=budget.capacity_bytes,
            total_memory_bytes=budget.usable_memory_bytes,
            settings=self.plan.in_force,
        )


def side_by_side(answer: Callable[[_Asked], _Answer], asked: Sequence[_Asked]) -> list[_Answer]:
    """Returns answers in order; runs one per processor at a time. The first error ends all."""
    if len(asked) < 2:
        return [answer(one) for one in asked]
    pool = ThreadPoolExecutor(max_workers=min(len(asked), len(os.sched_getaffinity(0))))
    try:
        return list(pool.map(answer, asked))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
