"""Memory from request to request of an estimate, at the batch of the run and at others.

In: an Estimate with recordings (`keep_allocations`, or a file of `--save`). Out: BatchTimelines.
Convention: nothing is run. Other batches come from a replay of PyTorch's allocator, which is shown
only where it gives the peaks of the recorded run to the byte.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from planner.errors import UsageError
from planner.memory.allocator.device_memory import WITHOUT_LIMIT_BYTES
from planner.memory.allocator.history import History
from planner.memory.allocator.levels import Levels, replay_levels
from planner.memory.allocator.options import parse_alloc_conf
from planner.memory.allocator.replay import Request, replay, requests_of
from planner.memory.allocator.settings import AllocatorSettings, Backend
from planner.memory.sample_parts import Sample
from planner.memory.scaling import Prediction, ScaledRequests
from planner.memory.timeline import Timeline, recorded_timeline, scaled_timeline
from planner.results.device_estimate import DeviceEstimate
from planner.results.estimate import Estimate
from planner.wire.trace import AllocationTrace

_SHOWN = 14  # batches of a page, beside those that the report names
_NO_RECORDING = (
    "this result has no recorded allocations: make it with `planner estimate ... --save FILE`, or "
    "planner.estimate(..., keep_allocations=True)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchFigures:
    """The memory of a step at one batch on the card."""

    batch_size: int
    """Samples of the step, or of a micro-batch."""
    peak_allocated_bytes: int
    """As torch.cuda.max_memory_allocated()."""
    peak_reserved_bytes: int
    """As max_memory_reserved(); of a card with enough memory where the batch does not fit."""
    device_total_bytes: int
    """With the context and memory outside of PyTorch, as the driver would show it."""
    fits: bool
    """Whether it fits on the card."""
    is_recorded: bool
    """A run at this batch was recorded; else its requests follow from those of others."""
    timeline: Timeline
    """Its requests."""
    history: History | None = None
    """Addresses and segments; None: not requested, or the run cannot be replayed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchTimelines:
    """The timelines of one card. Made by `timelines_of`."""

    entry: DeviceEstimate
    """The figures of the card."""
    batch_size: int
    """The batch of the run."""
    trace: AllocationTrace
    """The recorded run."""
    alone_because: str = ""
    """Why no other batch can be shown; "": others can."""
    settings: AllocatorSettings | None = None
    """Settings of the allocator; None: the run cannot be replayed."""
    scaled: ScaledRequests | None = field(default=None, repr=False)
    """The requests at every batch."""
    recorded: tuple[Sample, ...] = field(default=(), repr=False)
    """The requests of other batches that were run."""

    def batches(self) -> tuple[int, ...]:
        """Returns the batches to show, rising: the run's, those of the report, and some more."""
        if self.scaled is None:
            return (self.batch_size,)
        entry = self.entry
        largest = entry.max_batch_size or 0
        named = {self.batch_size, largest, entry.suggested_batch_size or 0}
        named |= {largest + 1} if largest and not entry.max_batch_is_bound else set()
        named |= {one.value for one in self.recorded}
        end = max(*named, 2 * self.batch_size)
        steps = {round(2 * (end / 2) ** (index / (_SHOWN - 1))) for index in range(_SHOWN)}
        return tuple(one for one in sorted(named | steps) if self.can_show(one))

    def can_show(self, batch_size: int) -> bool:
        """Returns whether the memory at a batch is known without a run."""
        if batch_size == self.batch_size:
            return True
        return self.settings is not None and self._prediction(batch_size) is not None

    def at(self, batch_size: int, *, with_history: bool = False) -> BatchFigures:
        """Returns the memory at a batch, `with_history` with addresses and segments too.

        Raises:
            UsageError: the batch cannot be known without a run.
        """
        if batch_size == self.batch_size:
            return self._recorded(with_history)
        settings, predicted = self.settings, self._prediction(batch_size)
        if settings is None or predicted is None:
            why = self.alone_because or "its requests do not follow from those of the recorded runs"
            raise UsageError(
                f"batch {batch_size} is not in this result: {why}; estimate it with --batch "
                f"{batch_size}"
            )
        fits = self._fits(batch_size)
        requests, optional = predicted.requests, predicted.optional
        levels = _levels(
            self.entry, settings, requests, optional, fits=fits, with_history=with_history
        )
        timeline = scaled_timeline(self.trace, self._sample(), predicted.requests, levels)
        return self._figures(
            batch_size,
            levels.result.peak_allocated_bytes,
            levels.result.peak_reserved_bytes,
            timeline,
            fits=fits,
            history=levels.history,
        )

    def _prediction(self, batch_size: int) -> Prediction | None:
        """Returns the requests at a batch; None where a replay of them is not what the card does.

        Near the limit a run may fit where its replay does not: the card decides there.
        """
        runs = [one for one in self.recorded if one.value == batch_size]
        if runs:
            found = Prediction(requests=runs[0].requests, optional=runs[0].workspaces)
        elif batch_size > 0 and self.scaled is not None and self.scaled.holds_at(batch_size):
            found = self.scaled.at(batch_size)
        else:
            return None
        if self.settings is None or not self._fits(batch_size):
            return found
        again = replay(
            found.requests,
            self.settings,
            capacity_bytes=_capacity(self.entry),
            total_memory_bytes=self.entry.usable_memory_bytes,
            optional=found.optional,
        )
        return found if again.out_of_memory is None else None

    def _recorded(self, with_history: bool) -> BatchFigures:
        entry, settings, levels = self.entry, self.settings, None
        if settings is not None:
            requests = self._sample().requests
            levels = _levels(
                entry, settings, requests, (), fits=entry.fits, with_history=with_history
            )
        return self._figures(
            self.batch_size,
            entry.peak_allocated_bytes,
            entry.peak_reserved_bytes,
            recorded_timeline(self.trace, levels),
            fits=entry.fits,
            history=None if levels is None else levels.history,
        )

    def _figures(
        self,
        batch_size: int,
        allocated: int,
        reserved: int,
        timeline: Timeline,
        *,
        fits: bool,
        history: History | None,
    ) -> BatchFigures:
        entry = self.entry
        return BatchFigures(
            batch_size=batch_size,
            peak_allocated_bytes=allocated,
            peak_reserved_bytes=reserved,
            device_total_bytes=entry.device_total_bytes + reserved - entry.peak_reserved_bytes,
            fits=fits,
            is_recorded=batch_size in {self.batch_size, *(one.value for one in self.recorded)},
            timeline=timeline,
            history=history,
        )

    def _sample(self) -> Sample:
        return Sample(value=self.batch_size, requests=tuple(requests_of(self.trace.events)))

    def _fits(self, batch_size: int) -> bool:
        return batch_size <= (self.entry.max_batch_size or 0)


def timelines_of(estimate: Estimate, index: int = 0) -> BatchTimelines:
    """Returns the timelines of a card of the estimate, by its place.

    Raises:
        UsageError: the estimate has no recorded allocations of that card.
    """
    trace = estimate.allocations[index] if index < len(estimate.allocations) else None
    if trace is None:
        raise UsageError(_NO_RECORDING)
    entry, batch_size = estimate.gpus[index], estimate.config.batch_size
    found = BatchTimelines(entry=entry, batch_size=batch_size, trace=trace)
    settings = _settings(estimate)
    if settings is None:
        return replace(found, alone_because="the allocator's setting cannot be replayed")
    again = _levels(entry, settings, tuple(requests_of(trace.events)), (), fits=entry.fits).result
    peaks = again.peak_allocated_bytes, again.peak_reserved_bytes
    if peaks != (entry.peak_allocated_bytes, entry.peak_reserved_bytes):
        return replace(found, alone_because="a replay of the run does not give its peaks")
    kept = estimate.batches[index] if index < len(estimate.batches) else None
    scaled = None if kept is None else kept.scaled()
    if kept is None or scaled is None:
        why = "the largest batch was not searched by replay"
        return replace(found, settings=settings, alone_because=why)
    return replace(found, settings=settings, scaled=scaled, recorded=kept.samples())


def _settings(estimate: Estimate) -> AllocatorSettings | None:
    if estimate.allocator_setting is None:
        return None
    settings = parse_alloc_conf(estimate.allocator_setting, estimate.versions.torch)
    return settings if settings.backend is Backend.NATIVE else None


def _levels(
    entry: DeviceEstimate,
    settings: AllocatorSettings,
    requests: Sequence[Request],
    optional: frozenset[int] | tuple[()],
    *,
    fits: bool,
    with_history: bool = False,
) -> Levels:
    """Replays on the card; where the step does not fit, on one with enough memory."""
    return replay_levels(
        requests,
        settings,
        capacity_bytes=_capacity(entry) if fits else WITHOUT_LIMIT_BYTES,
        total_memory_bytes=entry.usable_memory_bytes,
        optional=optional,
        with_history=with_history,
    )


def _capacity(entry: DeviceEstimate) -> int:
    """Returns the bytes of the card that are left for PyTorch's allocator."""
    others = entry.context_overhead_bytes + entry.reserve_bytes + entry.reserved_offset_bytes
    return entry.usable_memory_bytes - others - entry.outside_bytes
