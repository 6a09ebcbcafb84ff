"""The peak within each stage of a pipeline.

In: an AllocationTrace with stages. Out: StagePeaks. Convention: a stage that runs several times has
one peak, the highest; blocks count as in memory/block_size.py.
"""

from __future__ import annotations

from dataclasses import dataclass

from planner.memory.block_size import block_bytes_of
from planner.wire.trace import FREES, AllocationTrace, EventKind, TensorCategory

_SIGNS = {EventKind.ALLOC: 1, **dict.fromkeys(FREES, -1)}
_WEIGHTS = (TensorCategory.PARAMETER, TensorCategory.BUFFER)


@dataclass(frozen=True, slots=True, kw_only=True)
class StagePeak:
    """The highest moment within one stage of a pipeline."""

    stage: str
    """Name of the model that runs."""
    peak_bytes: int
    """Allocated bytes at that moment."""
    weights_bytes: int
    """Those of parameters and buffers, of every model that is on the card then."""


def stage_peaks(trace: AllocationTrace) -> tuple[StagePeak, ...]:
    """Returns the peak of each stage in the order in which they first run; none without stages."""
    begins = {mark.event: mark.stage for mark in trace.stages}
    order = list(dict.fromkeys(mark.stage for mark in trace.stages))
    found: dict[str, StagePeak] = {}
    stage, allocated, weights = "", 0, 0

    def note() -> None:
        if stage and allocated > (found[stage].peak_bytes if stage in found else -1):
            found[stage] = StagePeak(stage=stage, peak_bytes=allocated, weights_bytes=weights)

    for index, event in enumerate(trace.events):
        if index in begins:
            stage = begins[index]
            note()  # what is alive when a stage begins
        sign = _SIGNS.get(event.kind, 0)
        allocated += sign * block_bytes_of(event)
        if event.category in _WEIGHTS:
            weights += sign * block_bytes_of(event)
        note()
    if len(trace.events) in begins:
        stage = begins[len(trace.events)]
        note()
    return tuple(found[name] for name in order)
