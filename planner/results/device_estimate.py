"""One card's answer, and its entry in the JSON document.

In: figures of the runs and of the card. Out: DeviceEstimate. Sizes in bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from planner.cost.energy import StepCost
from planner.memory.peak import Breakdown
from planner.results.breakdown_summary import BreakdownSummary, summary_of
from planner.results.full_state import FullState
from planner.results.shown import Shown
from planner.results.step_time import HostNeeds, StepTime, cost_document

if TYPE_CHECKING:
    from planner.results.schema.memory import BreakdownDocument, DeviceDocument, IntervalDocument
    from planner.results.schema.step import WhatIfDocument


@dataclass(frozen=True, slots=True, kw_only=True)
class WhatIf:
    """The requested batch under another setting of the allocator, by replay of the same run."""

    alloc_conf: str | None
    """The setting, as PYTORCH_CUDA_ALLOC_CONF has it; None: torch's defaults."""
    peak_allocated_bytes: int
    """Most bytes in tensors at a time."""
    peak_reserved_bytes: int
    """Most bytes that the allocator holds at a time."""
    fits: bool
    """Whether the step fits on the card with this setting."""
    max_batch_size: int | None
    """Largest batch with this setting; None: not searched, or it cannot be forecast."""

    def to_dict(self) -> WhatIfDocument:
        """Returns the entry of the JSON list `alloc_conf_what_ifs`."""
        return {
            "alloc_conf": self.alloc_conf,
            "peak_allocated_bytes": self.peak_allocated_bytes,
            "peak_reserved_bytes": self.peak_reserved_bytes,
            "fits": self.fits,
            "max_batch_size": self.max_batch_size,
        }


class FitVerdict(str, Enum):
    """Whether a step fits, with regard to the known error of such predictions."""

    FITS = "fits"
    """It fits, also at the upper end of the interval where there is one."""
    TIGHT = "tight"
    """The prediction fits, the upper end of the interval does not."""
    DOES_NOT_FIT = "does not fit"
    """The prediction does not fit."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class DeviceEstimate(Shown):
    """One card's answer.

    Device total = peak reserved + context overhead + memory of libraries outside of PyTorch, as the
    driver would show it.
    """

    requested: str
    """The card in the words of the caller."""
    name: str
    """Full name of the card that was taken for it."""
    total_memory_bytes: int
    """Memory of the card as torch reports it."""
    usable_memory_bytes: int
    """Memory that a process can have, or the `gpu_memory` of the call."""
    context_overhead_bytes: int
    """Memory that CUDA takes for the process: context, kernels, libraries."""
    reserve_bytes: int
    """Memory that the caller wants to be kept free."""
    peak_allocated_bytes: int
    """Most bytes in tensors at a time, as torch.cuda.max_memory_allocated() returns."""
    peak_reserved_bytes: int
    """Most bytes held by PyTorch's allocator, as max_memory_reserved() returns."""
    fits: bool
    """Whether device total and `reserve_bytes` are within the usable memory."""
    max_batch_size: int | None = None
    """Largest batch that fits; 0: batch 1 does not; None: not searched."""
    max_batch_is_bound: bool = False
    """The search stopped at its bound with everything fitting: more may fit."""
    max_batch_confirmed: bool | None = None
    """The batch was run and fits, and the next was run and does not; False: only by replay, or at
    the bound; None: no search."""
    max_batch_method: str | None = None
    """"replay" or "runs": how it was searched; None: no search."""
    max_sequence_length: int | None = None
    """Longest sequence at the requested batch, a multiple of 128; 0: less than 128; None: no
    length was given."""
    max_sequence_confirmed: bool | None = None
    """As `max_batch_confirmed`, for the longest sequence."""
    max_image: tuple[int, int] | None = None
    """Height and width of the largest image at the requested ratio; zeros: not even one unit of the
    search fits; None: not searched."""
    max_image_confirmed: bool | None = None
    """As `max_batch_confirmed`, for the largest image."""
    max_frames: int | None = None
    """Most frames of a clip; 0: not even one fits; None: not searched."""
    max_frames_confirmed: bool | None = None
    """As `max_batch_confirmed`, for the most frames."""
    batch_1_missing_bytes: int | None = None
    """By how much batch 1 exceeds the card; None: it fits, or it is not known."""
    attention_backends: tuple[str, ...] = ()
    """Kernels of scaled_dot_product_attention that ran, as "flash"."""
    note: str | None = None
    """Assumption about the card's name; None: nothing was assumed."""
    breakdown: Breakdown | None = None
    """Parts of the peak; None: the run could not be recorded."""
    breakdown_summary: BreakdownSummary | None = None
    """Sums of these parts, if the result was read from a document of --json; else None."""
    what_ifs: tuple[WhatIf, ...] = ()
    """The same step under the other settings of the allocator that were given."""
    outside_bytes: int = 0
    """Most bytes that libraries take from CUDA themselves."""
    outside_spread_bytes: int = 0
    """How much fewer or more `outside_bytes` may be: NCCL's are known between two bounds."""
    managed_bytes: int = 0
    """Unified memory among `outside_bytes`, which the driver may move to the host."""
    reserved_offset_bytes: int = 0
    """Correction of peak reserved by past runs on this card, which may be negative; 0: none."""
    calibration: str | None = None
    """Which past runs corrected the figures; None: none did."""
    device_total_interval_bytes: tuple[int, int] | None = None
    """Low and high end of device total in a share `interval_coverage` of cases; None: no past
    errors are known."""
    interval_coverage: float | None = None
    """Share of cases within the interval, from 0 to 1; None: there is no interval."""
    interval_basis: str | None = None
    """Past errors that the interval comes from, or why there is none."""
    suggested_batch_size: int | None = None
    """Largest batch that fits at the upper end of the interval too; 0: none; None: not known."""
    suggested_margin_bytes: int | None = None
    """Peak reserved that is kept free for that; None: no batch is suggested."""
    suggested_batch_reason: str | None = None
    """Why no batch is suggested; None: one is."""
    id: str | None = None
    """Id of the card's record; None: a CPU."""
    other_names: tuple[str, ...] = ()
    """Other names of the card in its record."""
    time: StepTime | None = None
    """How long a step takes; None: its operators could not be counted."""
    host: HostNeeds | None = None
    """Memory and cores for the job on its host; None: the operators could not be counted."""
    cost: StepCost | None = None
    """Energy and money; None: the operators could not be counted."""
    full_state: FullState | None = None
    """Saving and loading the whole state of a job on several GPUs; None: it runs on one, or it is
    not known."""

    @property
    def device_total_bytes(self) -> int:
        """Returns peak reserved, corrected by past runs, + context overhead + outside bytes."""
        reserved_bytes = self.peak_reserved_bytes + self.reserved_offset_bytes
        return reserved_bytes + self.context_overhead_bytes + self.outside_bytes

    @property
    def peak_summary(self) -> BreakdownSummary | None:
        """Returns the parts of the peak, as documents hold them; None where they are not known."""
        return self.breakdown_summary if self.breakdown is None else summary_of(self.breakdown)

    @property
    def verdict(self) -> FitVerdict:
        """Returns whether it fits, and whether it does at the upper end of the interval too."""
        if not self.fits:
            return FitVerdict.DOES_NOT_FIT
        if self.device_total_interval_bytes is None:
            return FitVerdict.FITS
        most_bytes = self.device_total_interval_bytes[1] + self.reserve_bytes
        return FitVerdict.FITS if most_bytes <= self.usable_memory_bytes else FitVerdict.TIGHT

    @property
    def is_sure(self) -> bool:
        """Returns whether the whole interval is on one side of the limit; False without one."""
        if self.device_total_interval_bytes is None:
            return False
        low_bytes, high_bytes = self.device_total_interval_bytes
        end_bytes = high_bytes if self.fits else low_bytes
        return (end_bytes + self.reserve_bytes <= self.usable_memory_bytes) is self.fits

    @property
    def missing_bytes(self) -> int:
        """Returns by how much the step exceeds the card; 0 when it fits."""
        if self.fits:
            return 0
        return max(1, self.device_total_bytes + self.reserve_bytes - self.usable_memory_bytes)

    def to_dict(self) -> DeviceDocument:
        """Returns the entry of the JSON list `gpus`."""
        return {
            "name": self.name,
            "requested": self.requested,
            "id": self.id,
            "total_memory_bytes": self.total_memory_bytes,
            "usable_memory_bytes": self.usable_memory_bytes,
            "context_overhead_bytes": self.context_overhead_bytes,
            "reserve_bytes": self.reserve_bytes,
            "peak_allocated_bytes": self.peak_allocated_bytes,
            "peak_reserved_bytes": self.peak_reserved_bytes,
            "outside_bytes": self.outside_bytes,
            "outside_spread_bytes": self.outside_spread_bytes,
            "managed_bytes": self.managed_bytes,
            "device_total_bytes": self.device_total_bytes,
            "fits": self.fits,
            "missing_bytes": self.missing_bytes,
            "max_batch_size": self.max_batch_size,
            "max_batch_is_bound": self.max_batch_is_bound,
            "max_batch_confirmed": self.max_batch_confirmed,
            "max_batch_method": self.max_batch_method,
            "max_sequence_length": self.max_sequence_length,
            "max_sequence_confirmed": self.max_sequence_confirmed,
            "max_image": None if self.max_image is None else list(self.max_image),
            "max_image_confirmed": self.max_image_confirmed,
            "max_frames": self.max_frames,
            "max_frames_confirmed": self.max_frames_confirmed,
            "batch_1_missing_bytes": self.batch_1_missing_bytes,
            "attention_backends": list(self.attention_backends),
            "note": self.note,
            **_breakdown_dict(self.peak_summary),
            "alloc_conf_what_ifs": [found.to_dict() for found in self.what_ifs],
            **self._interval_dict(),
            "time": None if self.time is None else self.time.to_dict(),
            "host": None if self.host is None else self.host.to_dict(),
            "cost": None if self.cost is None else cost_document(self.cost),
            "full_state": None if self.full_state is None else self.full_state.to_dict(),
        }

    def _interval_dict(self) -> IntervalDocument:
        interval = self.device_total_interval_bytes
        return {
            "verdict": self.verdict.value,
            "device_total_interval_bytes": None if interval is None else list(interval),
            "interval_coverage": self.interval_coverage,
            "interval_basis": self.interval_basis,
            "suggested_batch_size": self.suggested_batch_size,
            "suggested_margin_bytes": self.suggested_margin_bytes,
            "suggested_batch_reason": self.suggested_batch_reason,
            "calibration": self.calibration,
            "reserved_offset_bytes": self.reserved_offset_bytes,
        }


def _breakdown_dict(found: BreakdownSummary | None) -> BreakdownDocument:
    if found is None:
        return {
            "breakdown_bytes": None,
            "peak_phase": None,
            "peak_step": None,
            "first_step_peak_bytes": None,
            "steady_step_peak_bytes": None,
            "fragmentation_bytes": None,
            "module_bytes": None,
            "stage_peaks": None,
            "largest_tensors": None,
        }
    return {
        "breakdown_bytes": found.by_category(),
        "peak_phase": found.peak_phase.value,
        "peak_step": found.peak_step,
        "first_step_peak_bytes": found.first_step_peak_bytes,
        "steady_step_peak_bytes": found.steady_step_peak_bytes,
        "fragmentation_bytes": found.fragmentation_bytes,
        "module_bytes": dict(found.modules),
        "stage_peaks": [
            {
                "stage": one.stage,
                "peak_bytes": one.peak_bytes,
                "weights_bytes": one.weights_bytes,
            }
            for one in found.stages
        ]
        or None,
        "largest_tensors": [block.to_dict() for block in found.largest_blocks],
    }
