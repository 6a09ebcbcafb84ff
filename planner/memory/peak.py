"""Breaks the peak down: the blocks alive at the peak, summed by any of their properties.

In: an AllocationTrace. Out: Breakdown. Convention: a block counts with all bytes that the allocator
took for it, as in torch.cuda.memory_allocated(), so that every sum is the peak allocated; where
these are not known, it counts with its size, rounded up as the allocator does.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from planner.memory.block_size import block_bytes_of, rounded
from planner.memory.stages import StagePeak, stage_peaks
from planner.wire.trace import (
    FREES,
    AllocationEvent,
    AllocationTrace,
    EventKind,
    Origin,
    Phase,
    TensorCategory,
)

ROUNDING = "rounding"  # next to the categories: ends of large blocks, too short to be split off


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A block that is alive at the peak."""

    size_bytes: int
    """Bytes that were requested."""
    block_bytes: int
    """Bytes that the allocator took for them."""
    category: TensorCategory
    """Category of the tensor."""
    step: int
    """Step in which it was requested, from 1 on; 0: before the first."""
    phase: Phase
    """Phase in which it was requested."""
    origin: Origin
    """Module, tensor, operator and line that requested it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Breakdown:
    """The live set at the first moment of the highest peak.

    Every dict is in falling order of bytes, and sums up to `total()`.
    """

    held: tuple[Held, ...]
    """The blocks, in the order of allocation."""
    peak_step: int
    """Step of the peak, from 1 on; 0: before the first."""
    peak_phase: Phase
    """Phase of the peak."""
    step_peak_bytes: tuple[int, ...]
    """Peak allocated of each step."""
    uncounted_bytes: int = 0
    """Peak allocated beyond the sum of the blocks, where their sizes are not known."""
    fragmentation_bytes: int | None = None
    """Peak reserved minus peak allocated; None: peak reserved is not known."""
    stages: tuple[StagePeak, ...] = ()
    """The peak within each stage of a pipeline, in their order; none: the target is no pipeline."""

    def total(self) -> int:
        """Returns peak allocated in bytes."""
        return sum(block.block_bytes for block in self.held) + self.uncounted_bytes

    def by_category(self) -> dict[str, int]:
        """Sums by TensorCategory, sizes rounded up to 512 bytes; the rest of blocks is ROUNDING."""
        sums = self._sums(lambda b: b.category.value, lambda b: rounded(b.size_bytes))
        rounding = self.total() - sum(sums.values())
        return _falling({**sums, **({ROUNDING: rounding} if rounding else {})})

    def by_module(self, depth: int | None = None) -> dict[str, int]:
        """Sums by dotted path, cut to `depth` names (None: not cut); "": outside any submodule."""

        def path(block: Held) -> str:
            return ".".join(block.origin.module.split(".")[:depth])

        return self._whole(path)

    def by_operator(self) -> dict[str, int]:
        """Sums by requesting operator or autograd node; "": none, as for placing the model."""
        return self._whole(lambda block: block.origin.operator)

    def by_phase(self) -> dict[str, int]:
        """Sums by the phase of the request."""
        return self._whole(lambda block: block.phase.value)

    def largest(self, count: int = 10) -> tuple[Held, ...]:
        """Returns the largest blocks; among equals the oldest comes first."""
        return tuple(sorted(self.held, key=lambda block: -block.block_bytes)[:count])

    @property
    def first_step_peak_bytes(self) -> int | None:
        """Returns the peak of step 1, which creates the optimizer state; None without a step."""
        return self.step_peak_bytes[0] if self.step_peak_bytes else None

    @property
    def steady_step_peak_bytes(self) -> int | None:
        """Returns the peak of the last step; None without a step."""
        return self.step_peak_bytes[-1] if self.step_peak_bytes else None

    @property
    def unattributed_bytes(self) -> int:
        """Returns the bytes without a category, the uncounted included."""
        return self.uncounted_bytes + sum(
            block.block_bytes
            for block in self.held
            if block.category is TensorCategory.UNATTRIBUTED
        )

    def _whole(self, key: Callable[[Held], str]) -> dict[str, int]:
        sums = self._sums(key, lambda block: block.block_bytes)
        if self.uncounted_bytes:
            sums[ROUNDING] = sums.get(ROUNDING, 0) + self.uncounted_bytes
        return _falling(sums)

    def _sums(self, key: Callable[[Held], str], size: Callable[[Held], int]) -> dict[str, int]:
        sums: dict[str, int] = defaultdict(int)
        for block in self.held:
            sums[key(block)] += size(block)
        return dict(sums)


def breakdown(
    trace: AllocationTrace,
    *,
    peak_allocated_bytes: int | None = None,
    peak_reserved_bytes: int | None = None,
) -> Breakdown:
    """Returns the breakdown of the peak of `trace`.

    `peak_allocated_bytes` is torch's own figure of the run: where block sizes are not known, its
    excess over the sum is `uncounted_bytes`.
    """
    peak = _find_peak(trace)
    counted = sum(block.block_bytes for block in peak.held)
    allocated = counted if peak_allocated_bytes is None else peak_allocated_bytes
    return Breakdown(
        held=peak.held,
        peak_step=peak.step,
        peak_phase=peak.phase,
        step_peak_bytes=peak.step_peak_bytes,
        uncounted_bytes=allocated - counted,
        fragmentation_bytes=None
        if peak_reserved_bytes is None
        else peak_reserved_bytes - allocated,
        stages=stage_peaks(trace),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Peak:
    held: tuple[Held, ...]
    step: int
    phase: Phase
    step_peak_bytes: tuple[int, ...]


def _find_peak(trace: AllocationTrace) -> _Peak:
    highest, at = 0, -1
    step_peaks: dict[int, int] = {}
    for index, event, before, after in _levels(trace):
        level = max(before, after)
        step_peaks[event.step] = max(step_peaks.get(event.step, 0), level)
        if after > highest:
            highest, at = after, index
    if at < 0:
        return _Peak(held=(), step=0, phase=Phase.BUILD, step_peak_bytes=())
    top = trace.events[at]
    return _Peak(
        held=tuple(_held(trace.events[index], trace) for index in live_after(trace.events, at)),
        step=top.step,
        phase=top.phase,
        step_peak_bytes=tuple(peak for step, peak in sorted(step_peaks.items()) if step),
    )


def live_after(events: Sequence[AllocationEvent], index: int) -> tuple[int, ...]:
    """Returns the indices of the requests whose blocks live after request `index`, oldest first."""
    live: dict[int, int] = {}
    for at in range(index + 1):
        event = events[at]
        if event.kind is EventKind.ALLOC:
            live[event.block] = at
        elif event.kind in FREES:
            live.pop(event.block, None)
    return tuple(live.values())


def _levels(trace: AllocationTrace) -> Iterator[tuple[int, AllocationEvent, int, int]]:
    """Returns each event with the bytes that are allocated before and after it."""
    allocated = 0
    for index, event in enumerate(trace.events):
        before = allocated
        if event.kind is EventKind.ALLOC:
            allocated += block_bytes_of(event)
        elif event.kind in FREES:
            allocated -= block_bytes_of(event)
        yield index, event, before, allocated


def _held(event: AllocationEvent, trace: AllocationTrace) -> Held:
    return Held(
        size_bytes=event.size_bytes,
        block_bytes=block_bytes_of(event),
        category=event.category,
        step=event.step,
        phase=event.phase,
        origin=trace.origins[event.origin],
    )


def _falling(sums: dict[str, int]) -> dict[str, int]:
    return dict(sorted(sums.items(), key=lambda item: -item[1]))
