"""The data of a page about an Estimate, as plain JSON: figures, timelines at several batches.

In: an Estimate. Out: dicts and lists. Convention: bytes and seconds as in the result, to the byte;
texts beside them are rounded. None is a figure that is not known. Nothing is run.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from planner.errors import UsageError
from planner.hardware.names import folded
from planner.render.html.columns import CATEGORIES, Columns, OriginNumbers
from planner.results.breakdown_summary import BreakdownSummary
from planner.results.device_estimate import DeviceEstimate
from planner.results.estimate import Estimate
from planner.results.timelines import BatchFigures, BatchTimelines, timelines_of
from planner.results.words import fit_words
from planner.wire.trace import AllocationTrace


def estimate_payload(
    estimate: Estimate, columns: Columns, batches: Collection[int] = ()
) -> dict[str, Any]:
    """Returns the data of an Estimate; `batches` are shown beside the usual ones.

    Raises:
        UsageError: a batch that was asked for cannot be known without a run.
    """
    origins = OriginNumbers()
    cards = [
        _card(estimate, index, columns, origins, batches) for index in range(len(estimate.gpus))
    ]
    return {
        "kind": "estimate",
        "run_batch": estimate.config.batch_size,
        "categories": list(CATEGORIES),
        "cards": cards,
        "origins": origins.columns(),
    }


def card_names(estimate: Estimate) -> list[str]:
    """Returns a name for each card: as requested, or with its place where two are alike."""
    asked = [entry.requested for entry in estimate.gpus]
    alike = [folded(name) for name in asked]
    return [
        name if alike.count(folded(name)) == 1 else f"{name} ({index + 1})"
        for index, name in enumerate(asked)
    ]


def _card(
    estimate: Estimate,
    index: int,
    columns: Columns,
    origins: OriginNumbers,
    batches: Collection[int],
) -> dict[str, Any]:
    entry = estimate.gpus[index]
    others_bytes = entry.context_overhead_bytes + entry.outside_bytes
    others_bytes += entry.reserve_bytes + entry.reserved_offset_bytes
    found, alone_because = _timelines(estimate, index)
    return {
        "requested": card_names(estimate)[index],
        "name": entry.name,
        "usable_memory_bytes": entry.usable_memory_bytes,
        "reserve_bytes": entry.reserve_bytes,
        "room_bytes": entry.usable_memory_bytes - others_bytes,
        "largest_batch_size": entry.max_batch_size,
        "largest_is_bound": entry.max_batch_is_bound,
        "suggested_batch_size": entry.suggested_batch_size,
        "alone_because": alone_because,
        "batches": _batches(estimate, entry, found, columns, origins, batches),
        "peak": _peak(entry.peak_summary),
    }


def _timelines(estimate: Estimate, index: int) -> tuple[BatchTimelines | None, str]:
    """Returns the timelines of a card, and why there is no other batch, or no timeline."""
    try:
        found = timelines_of(estimate, index)
    except UsageError:
        return None, (
            "this result has no recorded allocations, as one of --json or of the CPU; a file of "
            "planner estimate --save has them"
        )
    return found, found.alone_because


def _batches(
    estimate: Estimate,
    entry: DeviceEstimate,
    found: BatchTimelines | None,
    columns: Columns,
    origins: OriginNumbers,
    asked: Collection[int],
) -> list[dict[str, Any]]:
    own = estimate.config.batch_size
    if found is None:
        if set(asked) - {own}:
            raise UsageError(
                "--batches needs recorded allocations, which this result has not: make it with "
                "planner estimate --save"
            )
        return [_of_run(estimate, entry)]
    sizes = sorted({*found.batches(), *asked})
    shown = []
    for size in sizes:
        figures = found.at(size)
        shown.append(
            {
                **_of_batch(figures),
                **({"words": _run_words(estimate, entry)} if size == own else {}),
                "is_run": size == own,
                "timeline": _timeline(figures, columns, origins),
            }
        )
    return shown


def _of_run(estimate: Estimate, entry: DeviceEstimate) -> dict[str, Any]:
    return {
        "batch": estimate.config.batch_size,
        "peak_allocated_bytes": entry.peak_allocated_bytes,
        "peak_reserved_bytes": entry.peak_reserved_bytes,
        "device_total_bytes": entry.device_total_bytes,
        "fits": entry.fits,
        "words": _run_words(estimate, entry),
        "is_run": True,
        "timeline": None,
    }


def _run_words(estimate: Estimate, entry: DeviceEstimate) -> str:
    return fit_words(entry, is_drawn=estimate.values.are_decided)


def _of_batch(figures: BatchFigures) -> dict[str, Any]:
    return {
        "batch": figures.batch_size,
        "peak_allocated_bytes": figures.peak_allocated_bytes,
        "peak_reserved_bytes": figures.peak_reserved_bytes,
        "device_total_bytes": figures.device_total_bytes,
        "fits": figures.fits,
        "words": "fits" if figures.fits else "does not fit",
    }


def _timeline(
    figures: BatchFigures, columns: Columns, origins: OriginNumbers
) -> dict[str, Any] | None:
    """Returns the timeline; None where nothing was requested."""
    if not figures.timeline.events:
        return None
    return columns.timeline(figures.timeline, origins)


def _peak(found: BreakdownSummary | None) -> dict[str, Any] | None:
    """Returns the parts of the peak at the batch of the run."""
    if found is None:
        return None
    return {
        "categories": found.by_category(),
        "modules": dict(found.modules),
        "phase": found.peak_phase.value,
        "step": found.peak_step,
        "largest": [
            {
                "bytes": block.block_bytes,
                "category": block.category.value,
                "phase": block.phase.value,
                "module": block.origin.module,
                "tensor": block.origin.tensor,
                "operator": block.origin.operator,
                "source": block.origin.source,
            }
            for block in found.largest_blocks
        ],
    }


def source_lines(traces: Collection[AllocationTrace | None]) -> tuple[str, ...]:
    """Returns the source lines of recorded requests, each once."""
    return tuple(
        dict.fromkeys(
            origin.source for trace in traces if trace is not None
            for origin in trace.origins if origin.source
        )
    )  # fmt: skip
