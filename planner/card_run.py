"""One card's answer: the run without a limit, the run on the full card, the largest batch.

In: the card's budget and a Runner. Out: CardAnswer. Whether a step fits is decided by PyTorch's
own allocator on a card of that size, with its rule to free cached segments and try again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from planner.device.build import EmulatedDevice
from planner.device.profile import UNLIMITED_BYTES, device_profile
from planner.device.runner import Runner
from planner.device.torch_install import TorchInstall
from planner.errors import ModelError
from planner.memory.budget import MemoryBudget
from planner.memory.capacity import Capacity, Probe, Verdict, largest_batch
from planner.memory.timeline import Breakdown, breakdown
from planner.trace import Outcome, StepTrace
from planner.units import format_bytes
from planner.workload import StepConfig

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class CardAnswer:
    """What was found for one card; `capacity` is None when no largest batch was asked for.

    `breakdown` is of the run in `trace`, None where that could not be recorded. `batch_1` is the
    run of batch 1 without a limit, where no batch fits and another was asked for.
    """

    budget: MemoryBudget
    trace: StepTrace
    fits: bool
    capacity: Capacity | None
    breakdown: Breakdown | None = None
    batch_1: StepTrace | None = None


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
class _Recorded:
    """A run and what its peak is made of, where it was recorded to its end."""

    trace: StepTrace
    breakdown: Breakdown | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CardRun:
    """The runs of one card."""

    budget: MemoryBudget
    config: StepConfig
    runner: Runner
    cards: Cards
    progress: Progress

    def answer(self, search: bool) -> CardAnswer:
        """Runs the step, and searches the largest batch if asked.

        Raises:
            ModelError: the user's code raised for the batch asked for.
            ChildError: the run was killed or took too long.
        """
        batch = self.config.batch_size
        self._say(f"batch {batch}")
        recorded = self._record(self.cards.unlimited(self.budget))
        trace = recorded.trace
        if trace.outcome is Outcome.MODEL_ERROR:
            raise model_error(trace)
        if trace.outcome is Outcome.OUT_OF_MEMORY:
            fits, recorded = False, _Recorded(trace=_beyond_all_cards(trace), breakdown=None)
        else:
            fits, recorded = self._on_full_card(recorded)
        trace = recorded.trace
        known = Probe(
            batch_size=batch,
            verdict=Verdict.FITS if fits else Verdict.OUT_OF_MEMORY,
            total_bytes=trace.peak_allocated_bytes,
        )
        capacity = None
        if search:
            capacity = largest_batch(
                self._probe,
                limit_bytes=self.budget.capacity_bytes,
                known=(known,),
                start=batch if fits else self._smaller_start(trace),
            )
        return CardAnswer(
            budget=self.budget,
            trace=trace,
            fits=fits,
            capacity=capacity,
            breakdown=recorded.breakdown,
            batch_1=self._batch_1()
            if capacity is not None and batch > 1 and not capacity.max_batch_size
            else None,
        )

    def _batch_1(self) -> StepTrace | None:
        """What the smallest batch takes; None when it fails for another reason than memory."""
        config = replace(self.config, batch_size=1)
        trace = self.runner.run(self.cards.unlimited(self.budget), config)
        return trace if trace.outcome is Outcome.COMPLETED else None

    def _record(self, profile: str) -> _Recorded:
        trace, allocations = self.runner.record(profile, self.config)
        if allocations is None or trace.outcome is not Outcome.COMPLETED:
            return _Recorded(trace=trace, breakdown=None)
        found = breakdown(
            allocations,
            peak_allocated_bytes=trace.peak_allocated_bytes,
            peak_reserved_bytes=trace.peak_reserved_bytes,
        )
        return _Recorded(trace=trace, breakdown=found)

    def _on_full_card(self, free: _Recorded) -> tuple[bool, _Recorded]:
        """Whether the step fits, and the run that holds on this card."""
        if free.trace.peak_reserved_bytes <= self.budget.capacity_bytes:
            return True, free  # no allocation of it would have failed: the same run
        if free.trace.peak_allocated_bytes > self.budget.capacity_bytes:
            return False, free
        full = self._record(self.cards.limited(self.budget))
        if full.trace.outcome is Outcome.COMPLETED:
            return True, full
        return False, free

    def _smaller_start(self, trace: StepTrace) -> int:
        """A batch to begin at when the one asked for does not fit."""
        share = self.budget.capacity_bytes / max(1, trace.peak_reserved_bytes)
        return max(1, int(self.config.batch_size * share))

    def _probe(self, batch_size: int) -> Probe:
        self._say(f"searching the largest batch: trying {batch_size}")
        config = replace(self.config, batch_size=batch_size)
        trace = self.runner.run(self.cards.limited(self.budget), config)
        if trace.outcome is Outcome.COMPLETED:
            return Probe(
                batch_size=batch_size,
                verdict=Verdict.FITS,
                # Not reserved: near the limit the allocator gives cached segments back.
                total_bytes=trace.peak_allocated_bytes,
            )
        if trace.outcome is Outcome.OUT_OF_MEMORY:
            return Probe(batch_size=batch_size, verdict=Verdict.OUT_OF_MEMORY)
        assert trace.failure is not None
        detail = f"{trace.failure.kind}: {trace.failure.message}".splitlines()[0]
        return Probe(batch_size=batch_size, verdict=Verdict.ERROR, detail=detail)

    def _say(self, text: str) -> None:
        self.progress(f"{self.budget.requested}: {text}")


def _beyond_all_cards(trace: StepTrace) -> StepTrace:
    """The trace of a run that asked for more than there is to ask for."""
    said = (
        f"batch {trace.batch_size} needs more than the {format_bytes(UNLIMITED_BYTES)} that can be "
        "measured; the peaks are those reached before the allocation that failed"
    )
    return replace(trace, warnings=(*trace.warnings, said))


def model_error(trace: StepTrace) -> ModelError:
    """The failure of a run as the error that tells the user."""
    failure = trace.failure
    assert failure is not None
    kind = "" if failure.kind == "ModelError" else f"{failure.kind}: "
    return ModelError(
        f"the model's code failed ({failure.during}, batch {trace.batch_size}): "
        f"{kind}{failure.message}",
        failure.frames,
    )
