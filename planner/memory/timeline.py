"""The memory of a run from request to request: what pictures and exports of it show.

In: an AllocationTrace, levels of a replay. Out: Timeline. Convention: entry i of each column is
request i. Levels are those after a request; a block counts with all bytes that the allocator took.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from planner.memory.allocator.levels import Levels
from planner.memory.allocator.replay import Request
from planner.memory.block_size import block_bytes_of
from planner.memory.peak import live_after
from planner.memory.sample_parts import Sample, SampleParts
from planner.wire.trace import (
    FREES,
    AllocationEvent,
    AllocationTrace,
    EventKind,
    Origin,
    Phase,
    TensorCategory,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseSpan:
    """Successive requests of one phase of one step."""

    step: int
    """0 is the build; steps count from 1."""
    phase: Phase
    """The phase of all of them."""
    begin: int
    """Index of its first request."""
    end: int
    """Index after its last request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """The requests of a run, and the memory after each of them."""

    events: tuple[AllocationEvent, ...]
    """The requests; of another batch than the recorded one, with their sizes there."""
    origins: tuple[Origin, ...]
    """Origins of the requests, by `AllocationEvent.origin`."""
    changes_bytes: tuple[int, ...]
    """By how much the request changes allocated memory; negative for a free."""
    reserved_bytes: tuple[int, ...]
    """Bytes that the allocator holds after it; () where the run cannot be replayed."""

    @property
    def allocated_bytes(self) -> tuple[int, ...]:
        """Bytes of live blocks after each request."""
        return tuple(accumulate(self.changes_bytes))

    @property
    def peak_allocated_bytes(self) -> int:
        """Highest level of allocated memory."""
        return max(self.allocated_bytes, default=0)

    @property
    def peak_index(self) -> int:
        """Index of the request that first reaches the peak; 0 without any."""
        levels = self.allocated_bytes
        return levels.index(max(levels)) if levels else 0

    def categories(self) -> tuple[TensorCategory, ...]:
        """Returns the categories that occur, in the order of TensorCategory."""
        found = {event.category for event in self.events if event.kind is EventKind.ALLOC}
        return tuple(one for one in TensorCategory if one in found)

    def by_category(self) -> dict[TensorCategory, tuple[int, ...]]:
        """Returns the levels of each category; their sums are `allocated_bytes`."""
        changes = {one: [0] * len(self.events) for one in self.categories()}
        owner: dict[int, TensorCategory] = {}
        for index, (event, change) in enumerate(zip(self.events, self.changes_bytes, strict=True)):
            if event.kind is EventKind.ALLOC:
                owner[event.block] = event.category
            if change:
                changes[owner[event.block]][index] = change
        return {one: tuple(accumulate(column)) for one, column in changes.items()}

    def phases(self) -> tuple[PhaseSpan, ...]:
        """Returns the phases, in their order; together they span all requests."""
        spans: list[PhaseSpan] = []
        begin = 0
        for index, event in enumerate(self.events):
            following = self.events[index + 1] if index + 1 < len(self.events) else None
            if following is None or (following.step, following.phase) != (event.step, event.phase):
                spans.append(
                    PhaseSpan(step=event.step, phase=event.phase, begin=begin, end=index + 1)
                )
                begin = index + 1
        return tuple(spans)

    def live_at(self, index: int) -> tuple[tuple[AllocationEvent, int], ...]:
        """Returns the blocks alive after request `index`, oldest first, with their bytes."""
        alive = live_after(self.events, index)
        return tuple((self.events[at], self.changes_bytes[at]) for at in alive)


def recorded_timeline(trace: AllocationTrace, levels: Levels | None = None) -> Timeline:
    """Returns the timeline of a recorded run; `levels` is its replay, to be had by replay_levels().

    Without a replay the recorded sizes of blocks count, and reserved memory is not known.
    """
    if levels is not None:
        return _of_levels(trace.events, trace.origins, levels)
    sizes: dict[int, int] = {}
    changes = []
    for event in trace.events:
        change = 0
        if event.kind is EventKind.ALLOC:
            change = block_bytes_of(event)
            sizes[event.block] = change
        elif event.kind in FREES:
            change = -sizes.pop(event.block, 0)
        changes.append(change)
    return Timeline(
        events=trace.events,
        origins=trace.origins,
        changes_bytes=tuple(changes),
        reserved_bytes=(),
    )


def scaled_timeline(
    trace: AllocationTrace, recorded: Sample, requests: Sequence[Request], levels: Levels
) -> Timeline:
    """Returns the timeline of a step at another batch than the recorded one.

    `recorded` are the requests of `trace`, `requests` those at the other batch, in the same order
    but for scratch, and `levels` their replay. What a block is for, and where it comes from, is
    as in the recorded run; scratch that it does not have is workspace.
    """
    here, there = SampleParts(recorded), SampleParts(Sample(value=0, requests=tuple(requests)))
    lasting: list[AllocationEvent] = []
    scratch: dict[tuple[int, int], AllocationEvent] = {}
    for event in trace.events:
        if event.kind is not EventKind.ALLOC:
            continue
        if event.block in here.place:
            scratch[here.place[event.block]] = event
        else:
            lasting.append(event)
    events = []
    last = trace.events[0]
    for request in requests:
        known: AllocationEvent | None = None
        if request.kind is EventKind.ALLOC:
            if request.block in there.place:
                known = scratch.get(there.place[request.block])
            else:
                known = last = lasting[there.number(request.block)]
        place = last if known is None else known
        category = TensorCategory.WORKSPACE if known is None else known.category
        events.append(
            AllocationEvent(
                kind=request.kind,
                block=request.block,
                size_bytes=request.size_bytes,
                stream=request.stream,
                step=place.step,
                phase=place.phase,
                category=category,
                origin=0 if known is None else known.origin,
            )
        )
    return _of_levels(events, trace.origins, levels)


def _of_levels(
    events: Sequence[AllocationEvent], origins: tuple[Origin, ...], levels: Levels
) -> Timeline:
    """Returns the timeline up to the last request that the replay could serve."""
    allocated = levels.allocated_bytes
    shown = events[: len(allocated)]
    return Timeline(
        events=tuple(shown),
        origins=origins,
        changes_bytes=tuple(
            after - before for before, after in zip((0, *allocated), allocated, strict=False)
        ),
        reserved_bytes=levels.reserved_bytes,
    )
