"""The part of a Breakdown that is in a JSON document: sums and the largest blocks.

In: a Breakdown, or keys of a document. Out: BreakdownSummary. Sizes in bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from planner.memory.peak import Breakdown
from planner.memory.stages import StagePeak
from planner.wire.trace import Origin, Phase, TensorCategory

if TYPE_CHECKING:
    from planner.results.schema.memory import HeldDocument

_MODULE_DEPTH = 2
_LARGEST_TENSORS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class LargestBlock:
    """One of the largest blocks at the peak."""

    block_bytes: int
    """Its size."""
    category: TensorCategory
    """Category of the memory."""
    phase: Phase
    """Phase in which it was allocated."""
    origin: Origin
    """Where it was allocated."""

    def to_dict(self) -> HeldDocument:
        """Returns the entry of the JSON list `largest_tensors`."""
        return {
            "bytes": self.block_bytes,
            "category": self.category.value,
            "phase": self.phase.value,
            "module": self.origin.module,
            "tensor": self.origin.tensor,
            "operator": self.origin.operator,
            "source": self.origin.source,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakdownSummary:
    """The peak allocated, summed up; each tuple is in falling order of bytes."""

    categories: tuple[tuple[str, int], ...]
    """Bytes by TensorCategory, and of "rounding"."""
    modules: tuple[tuple[str, int], ...]
    """Bytes by module, two names deep; "" is outside of any submodule."""
    largest_blocks: tuple[LargestBlock, ...]
    """The ten largest blocks."""
    peak_phase: Phase
    """Phase in which the peak is."""
    peak_step: int
    """Step in which the peak is, from 1."""
    first_step_peak_bytes: int | None = None
    """Peak of the first step; None without a step."""
    steady_step_peak_bytes: int | None = None
    """Peak of the last step; None without a step."""
    fragmentation_bytes: int | None = None
    """Peak reserved - peak allocated; None where that is not known."""
    stages: tuple[StagePeak, ...] = ()
    """The peak within each stage of a pipeline, in their order; none: the target is no pipeline."""

    def by_category(self) -> dict[str, int]:
        """Returns the categories as a dict, in bytes."""
        return dict(self.categories)


def summary_of(found: Breakdown) -> BreakdownSummary:
    """Returns the summary of a breakdown for a document."""
    return BreakdownSummary(
        categories=tuple(found.by_category().items()),
        modules=tuple(found.by_module(_MODULE_DEPTH).items()),
        largest_blocks=tuple(
            LargestBlock(
                block_bytes=block.block_bytes,
                category=block.category,
                phase=block.phase,
                origin=block.origin,
            )
            for block in found.largest(_LARGEST_TENSORS)
        ),
        peak_phase=found.peak_phase,
        peak_step=found.peak_step,
        first_step_peak_bytes=found.first_step_peak_bytes,
        steady_step_peak_bytes=found.steady_step_peak_bytes,
        fragmentation_bytes=found.fragmentation_bytes,
        stages=found.stages,
    )
