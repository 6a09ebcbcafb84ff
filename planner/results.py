"""What a caller gets: frozen records of an estimate, and their JSON form.

In: figures of the runs and of the card. Out: Estimate. Sizes in bytes, counts in elements.
The JSON form is a contract (schema_version 1): keys are added, never changed or removed.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

from planner.errors import UsageError
from planner.memory.timeline import Breakdown, Held
from planner.module_counts import StepCounts
from planner.trace import Counts
from planner.workload import Scalar, StepConfig

SCHEMA_VERSION = 1
_BREAKDOWN_KEYS = (
    "breakdown_bytes", "peak_phase", "peak_step", "first_step_peak_bytes",
    "steady_step_peak_bytes", "fragmentation_bytes", "module_bytes", "largest_tensors",
)  # fmt: skip
_STEP_KEYS = (
    "forward_flops_per_sample", "step_flops", "activations_per_sample", "uncounted_operators",
)  # fmt: skip
_MODULE_DEPTH = 2
_LARGEST_TENSORS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Versions:
    """What the figures were made with: they move with each of these."""

    torch: str
    cuda: str
    cudnn: str | None
    python: str
    planner: str


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

    def to_dict(self) -> dict[str, Any]:
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
class GpuEstimate:
    """One card's answer.

    `device_total_bytes` = peak reserved + context overhead: what the driver would show. Past runs
    on the card may have corrected it, as `calibration` says: by a measured context overhead, and by
    `reserved_offset_bytes`. `device_total_interval_bytes` is where it will lie in a share
    `interval_coverage` of cases, by the errors that `interval_basis` names; None where there are no
    such errors, as `interval_basis` then says. `suggested_batch_size` is the largest batch at whose
    upper end of the interval the step still fits: with `suggested_margin_bytes` of peak reserved
    kept free. None where it is not known.
    `max_batch_size` is None when it was not searched and 0 when batch 1 does not fit;
    `max_batch_is_bound` says that the search stopped at its bound with everything fitting.
    `max_batch_confirmed`: it was run and fits, and the next one was run and does not; else it comes
    from a replay alone. `max_batch_method` is "replay" or "runs". `max_sequence_length` is the
    longest sequence at the batch asked for, a multiple of 128; None where no length was given.
    `what_ifs` is the same step under other settings of the allocator.
    `batch_1_missing_bytes` is by how much batch 1 exceeds the card, where it was found not to fit.
    `breakdown` says what the peak is made of; None where the run could not be recorded.
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
    what_ifs: tuple[WhatIf, ...] = ()
    reserved_offset_bytes: int = 0
    calibration: str | None = None
    device_total_interval_bytes: tuple[int, int] | None = None
    interval_coverage: float | None = None
    interval_basis: str | None = None
    suggested_batch_size: int | None = None
    suggested_margin_bytes: int | None = None

    @property
    def device_total_bytes(self) -> int:
        """Peak reserved plus context overhead, with what past runs on the card correct in it."""
        return self.peak_reserved_bytes + self.reserved_offset_bytes + self.context_overhead_bytes

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

    def to_dict(self) -> dict[str, Any]:
        """The entry of the JSON list `gpus`."""
        return {
            "name": self.name,
            "requested": self.requested,
            "total_memory_bytes": self.total_memory_bytes,
            "usable_memory_bytes": self.usable_memory_bytes,
            "context_overhead_bytes": self.context_overhead_bytes,
            "reserve_bytes": self.reserve_bytes,
            "peak_allocated_bytes": self.peak_allocated_bytes,
            "peak_reserved_bytes": self.peak_reserved_bytes,
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
            **_breakdown_dict(self.breakdown),
            "alloc_conf_what_ifs": [found.to_dict() for found in self.what_ifs],
            **self._interval_dict(),
        }

    def _interval_dict(self) -> dict[str, Any]:
        interval = self.device_total_interval_bytes
        return {
            "verdict": self.verdict.value,
            "device_total_interval_bytes": None if interval is None else list(interval),
            "interval_coverage": self.interval_coverage,
            "interval_basis": self.interval_basis,
            "suggested_batch_size": self.suggested_batch_size,
            "suggested_margin_bytes": self.suggested_margin_bytes,
            "calibration": self.calibration,
            "reserved_offset_bytes": self.reserved_offset_bytes,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """The answer of `planner.estimate()` for one model on one or more cards.

    `step` holds FLOPs and activations, None where they could not be counted. `is_survey`: every
    card in the database was asked for.
    """

    target: str
    config: StepConfig
    counts: Counts
    gpus: tuple[GpuEstimate, ...]
    versions: Versions
    optimizer: str
    build_on: str
    assumptions: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    engine: str = "emulated"
    step: StepCounts | None = None
    is_survey: bool = False

    def gpu(self, name: str | None = None) -> GpuEstimate:
        """The entry of one card, by the name it was asked for or its full name; None: the first.

        Raises:
            UsageError: the card was not part of this estimate.
        """
        if name is None:
            return self.gpus[0]
        wanted = _folded(name)
        for entry in self.gpus:
            if wanted in (_folded(entry.requested), _folded(entry.name)):
                return entry
        known = ", ".join(entry.requested for entry in self.gpus)
        raise UsageError(f"{name!r} is not in this estimate; it holds {known}")

    @property
    def total_bytes(self) -> int:
        """Device total on the first card: peak reserved plus context overhead."""
        return self.gpus[0].device_total_bytes

    @property
    def max_batch_size(self) -> int | None:
        """Largest batch on the first card; None when it was not searched."""
        return self.gpus[0].max_batch_size

    def breakdown(self, gpu: str | None = None) -> Breakdown | None:
        """What the peak is made of on the card named (the first one when None).

        Raises:
            UsageError: the card was not part of this estimate.
        """
        return self.gpu(gpu).breakdown

    def fits(self, gpu: str | None = None) -> bool:
        """Whether the step fits on the card named (the first one when None).

        Raises:
            UsageError: the card was not part of this estimate.
        """
        return self.gpu(gpu).fits

    def to_dict(self) -> dict[str, Any]:
        """The JSON document, in stable order, with plain types only."""
        return {
            "schema_version": SCHEMA_VERSION,
            "target": self.target,
            "engine": self.engine,
            "versions": {
                "torch": self.versions.torch,
                "cuda": self.versions.cuda,
                "cudnn": self.versions.cudnn,
                "python": self.versions.python,
                "planner": self.versions.planner,
            },
            "config": _config_dict(self.config, self.optimizer, self.build_on),
            "counts": {
                "parameters": self.counts.parameters,
                "trainable_parameters": self.counts.trainable_parameters,
                "buffers": self.counts.buffers,
                **_step_dict(self.step),
            },
            "gpus": [entry.to_dict() for entry in self.gpus],
            "assumptions": list(self.assumptions),
            "warnings": list(self.warnings),
        }


def _step_dict(step: StepCounts | None) -> dict[str, Any]:
    return dict.fromkeys(_STEP_KEYS) if step is None else step.to_dict()


def _breakdown_dict(found: Breakdown | None) -> dict[str, Any]:
    if found is None:
        return dict.fromkeys(_BREAKDOWN_KEYS)
    return dict(
        zip(
            _BREAKDOWN_KEYS,
            (
                found.by_category(),
                found.peak_phase.value,
                found.peak_step,
                found.first_step_peak_bytes,
                found.steady_step_peak_bytes,
                found.fragmentation_bytes,
                found.by_module(_MODULE_DEPTH),
                [_held_dict(block) for block in found.largest(_LARGEST_TENSORS)],
            ),
            strict=True,
        )
    )


def _held_dict(block: Held) -> dict[str, Any]:
    origin = block.origin
    return {
        "bytes": block.block_bytes,
        "category": block.category.value,
        "phase": block.phase.value,
        "module": origin.module,
        "tensor": origin.tensor,
        "operator": origin.operator,
        "source": origin.source,
    }


def _folded(name: str) -> str:
    return "".join(character for character in name.lower() if character.isalnum())


def _config_dict(config: StepConfig, optimizer: str, build_on: str) -> dict[str, Any]:
    arguments: dict[str, Scalar] = dict(config.optimizer_arguments)
    return {
        "batch_size": config.batch_size,
        "precision": config.precision.value,
        "optimizer": optimizer,
        "mode": config.mode.value,
        "optimizer_arguments": arguments,
        "accumulate": config.accumulate,
        "channels_last": config.channels_last,
        "checkpoint_activations": config.checkpoint_activations,
        "set_to_none": config.set_to_none,
        "steps": config.steps,
        "build_on": build_on,
        "alloc_conf": config.alloc_conf,
        "inputs": [
            {"name": spec.name, "shape": list(spec.shape), "dtype": spec.dtype}
            for spec in config.inputs
        ],
        "sequence_length": config.sequence_length,
    }
