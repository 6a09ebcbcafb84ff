"""One card's answer, and its entry in the JSON document.

In: figures of the runs and of the card. Out: DeviceEstimate. Sizes in bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from planner.cost.energy import StepCost
from planner.memory.peak import Breakdown
from planner.results.breakdown_summary import BreakdownSummary, summary_of
from planner.results.schema import (
    BreakdownDocument,
    DeviceDocument,
    IntervalDocument,
    WhatIfDocument,
)
from planner.results.step_time import HostNeeds, StepTime, cost_document


@dataclass(frozen=True, slots=True, kw_only=True)
class WhatIf:
    """The batch asked for under another setting of the allocator, by replay of the same run.

    `alloc_conf` is None for torch's defaults; `max_batch_size` is None where it was not searched or
    cannot be forecast.
    """

    alloc_conf: str | None
    peak_allocated_bytes: int
    peak_reserved_bytes: int
    fits: bool
    max_batch_size: int | None

    def to_dict(self) -> WhatIfDocument:
        """The entry of the JSON list `alloc_conf_what_ifs`."""
        return {
            "alloc_conf": self.alloc_conf,
            "peak_allocated_bytes": self.peak_allocated_bytes,
            "peak_reserved_bytes": self.peak_reserved_bytes,
            "fits": self.fits,
            "max_batch_size": self.max_batch_size,
        }


class FitVerdict(str, Enum):
    """Whether a step fits, with what is known of the error of such predictions."""

    FITS = "fits"  # also at the upper end of the interval, where there is one
    TIGHT = "tight"  # what is predicted fits, the upper end of the interval does not
    DOES_NOT_FIT = "does not fit"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceEstimate:
    """One card's answer.

    `id` is that of the card's record, None of a CPU; `other_names` are those that the record has
    beside its name. `device_total_bytes` = peak reserved + context overhead: what the driver would
    show; and, where libraries ask CUDA for memory themselves, `outside_bytes`: what they take of
    the card at the most, `managed_bytes` of it unified memory, which the driver may move to the
    host. Past runs on the card may have corrected it, as `calibration` says: by a measured context
    overhead, and by `reserved_offset_bytes`.
    `device_total_interval_bytes` is where it will lie in a share `interval_coverage` of cases, by
    the errors that `interval_basis` names; None where there are no such errors, as
    `interval_basis` then says. `suggested_batch_size` is the largest batch at whose upper end of
    the interval the step still fits: with `suggested_margin_bytes` of peak reserved kept free. None
    where it is not known, as `suggested_batch_reason` then says.
    `max_batch_size` is None when it was not searched and 0 when batch 1 does not fit;
    `max_batch_is_bound` says that the search stopped at its bound with everything fitting.
    `max_batch_confirmed`: it was run and fits, and the next one was run and does not; else it comes
    from a replay alone, or the search ended at its bound, where no next one is run.
    `max_batch_method` is "replay" or "runs". `max_sequence_length` is the longest sequence at the
    batch asked for, a multiple of 128; None where no length was given.
    `what_ifs` is the same step under other settings of the allocator.
    `batch_1_missing_bytes` is by how much batch 1 exceeds the card, where it was found not to fit.
    `breakdown` says what the peak is made of; None where the run could not be recorded.
    `breakdown_summary` is there in its place where the result was read from a document of --json.
    `time`, `host` and `cost` are None where the step's operators could not be counted.
    """

    requested: str
    name: str
    total_memory_bytes: int
    usable_memory_bytes: int
    context_overhead_bytes: int
    reserve_bytes: int
    peak_allocated_bytes: int
    peak_reserved_bytes: int
    fits: bool
    max_batch_size: int | None = None
    max_batch_is_bound: bool = False
    max_batch_confirmed: bool | None = None
    max_batch_method: str | None = None
    max_sequence_length: int | None = None
    max_sequence_confirmed: bool | None = None
    batch_1_missing_bytes: int | None = None
    attention_backends: tuple[str, ...] = ()
    note: str | None = None
    breakdown: Breakdown | None = None
    breakdown_summary: BreakdownSummary | None = None
    what_ifs: tuple[WhatIf, ...] = ()
    outside_bytes: int = 0
    managed_bytes: int = 0
    reserved_offset_bytes: int = 0
    calibration: str | None = None
    device_total_interval_bytes: tuple[int, int] | None = None
    interval_coverage: float | None = None
    interval_basis: str | None = None
    suggested_batch_size: int | None = None
    suggested_margin_bytes: int | None = None
    suggested_batch_reason: str | None = None
    id: str | None = None
    other_names: tuple[str, ...] = ()
    time: StepTime | None = None
    host: HostNeeds | None = None
    cost: StepCost | None = None

    @property
    def device_total_bytes(self) -> int:
        """Peak reserved, context overhead and what is outside both, as past runs correct them."""
        reserved_bytes = self.peak_reserved_bytes + self.reserved_offset_bytes
        return reserved_bytes + self.context_overhead_bytes + self.outside_bytes

    @property
    def peak_summary(self) -> BreakdownSummary | None:
        """What the peak is made of, as documents hold it; None where that is not known."""
        return self.breakdown_summary if self.breakdown is None else summary_of(self.breakdown)

    @property
    def verdict(self) -> FitVerdict:
        """Whether it fits, and whether it does at the upper end of the interval too."""
        if not self.fits:
            return FitVerdict.DOES_NOT_FIT
        if self.device_total_interval_bytes is None:
            return FitVerdict.FITS
        most_bytes = self.device_total_interval_bytes[1] + self.reserve_bytes
        return FitVerdict.FITS if most_bytes <= self.usable_memory_bytes else FitVerdict.TIGHT

    @property
    def missing_bytes(self) -> int:
        """By how much the step exceeds the card; 0 when it fits."""
        if self.fits:
            return 0
        return max(1, self.device_total_bytes + self.reserve_bytes - self.usable_memory_bytes)

    def to_dict(self) -> DeviceDocument:
        """The entry of the JSON list `gpus`."""
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
            "batch_1_missing_bytes": self.batch_1_missing_bytes,
            "attention_backends": list(self.attention_backends),
            "note": self.note,
            **_breakdown_dict(self.peak_summary),
            "alloc_conf_what_ifs": [found.to_dict() for found in self.what_ifs],
            **self._interval_dict(),
            "time": None if self.time is None else self.time.to_dict(),
            "host": None if self.host is None else self.host.to_dict(),
            "cost": None if self.cost is None else cost_document(self.cost),
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
        "largest_tensors": [block.to_dict() for block in found.largest_blocks],
    }
