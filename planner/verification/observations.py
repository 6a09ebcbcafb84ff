"""Reads the memory of a run, in the way of each kind of device.

In: a StepTrace, and observations from outside the process. Out: Readings.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from planner.machine.nvml import Nvml, PhysicalCard
from planner.verification.probes import Observation, Reading
from planner.wire.trace import StepTrace

_PERIOD_S = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class EmulatedObservation(Observation):
    """Takes planner's own figure for the context: there is no driver to measure it."""

    context_overhead_bytes: int

    def reading(self, trace: StepTrace) -> Reading:
        """Returns PyTorch's own figures, with the context added to the device total."""
        return Reading(
            peak_allocated_bytes=trace.peak_allocated_bytes,
            peak_reserved_bytes=trace.peak_reserved_bytes,
            peak_device_bytes=trace.peak_reserved_bytes + self.context_overhead_bytes,
            context_overhead_bytes=self.context_overhead_bytes,
        )


class CpuObservation(Observation):
    """Reads the process's peak resident memory, as the kernel recorded it."""

    def reading(self, trace: StepTrace) -> Reading:
        """Returns the peak of the process: without a caching allocator nothing is reserved."""
        return Reading(peak_device_bytes=None if trace.host is None else trace.host.peak_bytes)


class CardObservation(Observation):
    """Reads the use of the whole card by NVML: before the run, and the most during it."""

    def __init__(self, nvml: Nvml, card: PhysicalCard) -> None:
        self._nvml, self._card = nvml, card
        self._before_bytes = self._peak_bytes = nvml.used_bytes(card)
        self._ended = threading.Event()

    def watch(self) -> None:
        """Reads the use until `end`; may miss a peak shorter than the period."""
        while not self._ended.wait(_PERIOD_S):
            try:
                used_bytes = self._nvml.used_bytes(self._card)
            except Exception:  # the library's own class, not known here: the peak so far is kept
                return
            self._peak_bytes = max(self._peak_bytes, used_bytes)

    def end(self) -> None:
        """Ends the watch."""
        self._ended.set()

    def reading(self, trace: StepTrace) -> Reading:
        """Returns the figures; context = use of the card - its use before - PyTorch's reserved."""
        context_bytes, held = None, trace.card
        if held is not None:
            context_bytes = max(0, held.used_bytes - self._before_bytes - held.reserved_bytes)
        at_end = 0 if held is None else held.used_bytes
        return Reading(
            peak_allocated_bytes=trace.peak_allocated_bytes,
            peak_reserved_bytes=trace.peak_reserved_bytes,
            peak_device_bytes=max(self._peak_bytes, at_end),
            device_before_bytes=self._before_bytes,
            context_overhead_bytes=context_bytes,
        )


@contextmanager
def watched_card(nvml: Nvml, card: PhysicalCard) -> Iterator[CardObservation]:
    """Yields an observation of the card that lasts as long as the context."""
    observation = CardObservation(nvml, card)
    watcher = threading.Thread(target=observation.watch, name="planner-nvml", daemon=True)
    watcher.start()
    try:
        yield observation
    finally:
        observation.end()
        watcher.join()
