"""A pipeline as one of its ranks sees it: the stages, their places, the order of the work.

In: nothing. Out: a record that runs and counts send to the parent.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineRecord:
    """The stages of a pipeline, first to last, and what each of its ranks does in a step."""

    blocks: tuple[int, ...]
    """Number of blocks of each stage."""
    places: tuple[int, ...]
    """Rank within the pipeline that has each stage."""
    microbatches: int
    """Micro-batches of a step."""
    order: tuple[tuple[str, ...], ...]
    """What each rank within the pipeline computes, in PyTorch's words: stage, then F (forward), B
    (backward), I (gradients of inputs) or W (gradients of weights), then the micro-batch."""

    def blocks_at(self, place: int) -> tuple[int, ...]:
        """Returns the number of blocks of each stage of a rank."""
        stages = zip(self.blocks, self.places, strict=True)
        return tuple(number for number, at in stages if at == place)
