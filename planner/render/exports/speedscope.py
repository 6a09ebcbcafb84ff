"""The memory at the peak as a flame graph, for https://www.speedscope.app and what reads its files.

In: BatchFigures. Out: a document by https://www.speedscope.app/file-format-schema.json. Convention:
a sample is a block that is alive at the peak, its weight the bytes that the allocator took for it;
the weights of a profile add up to the peak allocated.
"""

from __future__ import annotations

from typing import Any

from planner._version import __version__
from planner.render.exports.stacks import Frame, FrameKind, frames_of
from planner.results.timelines import BatchFigures
from planner.wire.trace import TensorCategory

_SCHEMA = "https://www.speedscope.app/file-format-schema.json"
_NOT_RECORDED = Frame(kind=FrameKind.OPERATOR, name="(sizes of blocks are not known)")


def speedscope(figures: BatchFigures, name: str) -> dict[str, Any]:
    """Returns the document, with two profiles: by module, and by category and then by module."""
    timeline = figures.timeline
    live = timeline.live_at(timeline.peak_index) if timeline.events else ()
    stacks = [(event.category, frames_of(timeline.origins[event.origin])) for event, _ in live]
    weights = [size_bytes for _, size_bytes in live]
    missing = figures.peak_allocated_bytes - sum(weights)
    if missing:  # the run cannot be replayed, and has not recorded all sizes
        stacks.append((TensorCategory.UNATTRIBUTED, (_NOT_RECORDED,)))
        weights.append(missing)
    frames: dict[Frame, int] = {}

    def profile(title: str, samples: list[tuple[Frame, ...]]) -> dict[str, Any]:
        return {
            "type": "sampled",
            "name": title,
            "unit": "bytes",
            "startValue": 0,
            "endValue": sum(weights),
            "samples": [[frames.setdefault(one, len(frames)) for one in row] for row in samples],
            "weights": weights,
        }

    of_batch = f"peak at batch {figures.batch_size}"
    profiles = [
        profile(f"{of_batch}, by module", [stack for _, stack in stacks]),
        profile(
            f"{of_batch}, by category",
            [
                (Frame(kind=FrameKind.TENSOR, name=f"[{category.value}]"), *stack)
                for category, stack in stacks
            ],
        ),
    ]
    return {
        "$schema": _SCHEMA,
        "name": name,
        "exporter": f"vram-planner {__version__}",
        "activeProfileIndex": 0,
        "shared": {"frames": [_document(one) for one in frames]},
        "profiles": profiles,
    }


def _document(frame: Frame) -> dict[str, Any]:
    if not frame.file:
        return {"name": frame.name}
    return {"name": frame.name, "file": frame.file, "line": frame.line}
