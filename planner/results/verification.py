"""What a verification found: probes, predicted and measured figures, and their JSON form.

In: nothing. Out: Verification and its parts. Convention: bytes and seconds; an error is signed and
relative, (predicted - measured) / measured. The JSON form is a contract: keys are added, never
changed or removed.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any

from planner.config.step import StepConfig
from planner.config.target import Scalar
from planner.config.weights import WeightDtype
from planner.results.estimate import SCHEMA_VERSION, Versions, config_dict
from planner.results.values import NO_VALUES_READ, ValuesResult


class DeviceKind(str, Enum):
    """What the steps ran on."""

    PHYSICAL = "physical"  # a real GPU
    EMULATED = (
        "emulated"  # PyTorch's allocator and its OutOfMemoryError, on a card that is not there
    )
    CPU = "cpu"  # real memory of this machine, under a limit that the kernel enforces


class ProbeOutcome(str, Enum):
    """How a probe ended; only OOM moves the search."""

    FITS = "fits"
    OOM = "oom"  # the allocator said so: torch.OutOfMemoryError, on the CPU its own error
    CUDA_ERROR = "cuda-error"  # a kernel or a library failed
    KILLED = "killed"  # by a signal: the kernel's OOM killer, a crash, a user
    TIME_OUT = "time-out"
    MODEL_ERROR = "model-error"  # the user's code raised


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedDevice:
    """What was verified on. Figures are None where they are not known or do not apply.

    `memory_bytes` is what torch reports as the card's total memory, or the limit on the CPU;
    `limit` says how that was enforced. `power_limit_w` in watts.
    """

    name: str
    kind: DeviceKind
    memory_bytes: int
    limit: str = ""
    driver: str | None = None
    ecc: bool | None = None
    power_limit_w: float | None = None
    other_processes_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeRecord:
    """One run of the step in a process of its own. None: not known, or it did not get that far.

    `peak_device_bytes` is the most that the whole device held (on the CPU: that the process held in
    RAM); `context_overhead_bytes` what the process held outside PyTorch's allocator. `step_s` is
    the median of the steps after the first; `seconds` the whole run.
    """

    batch_size: int
    outcome: ProbeOutcome
    seconds: float
    peak_allocated_bytes: int | None = None
    peak_reserved_bytes: int | None = None
    peak_device_bytes: int | None = None
    device_before_bytes: int | None = None
    context_overhead_bytes: int | None = None
    step_s: float | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Predicted or measured figures at one batch; None where there is none.

    `max_batch_size` is 0 where not even batch 1 fits, None where the search could not end.
    """

    max_batch_size: int | None = None
    batch_size: int | None = None  # of the figures below
    peak_allocated_bytes: int | None = None
    peak_reserved_bytes: int | None = None
    context_overhead_bytes: int | None = None
    device_total_bytes: int | None = None
    step_s: float | None = None


# Bytes of the peak allocated by category, as TensorCategory names it; empty where not recorded.
Categories = tuple[tuple[str, int], ...]

COMPARED = (
    "max_batch_size", "peak_allocated_bytes", "peak_reserved_bytes", "context_overhead_bytes",
    "device_total_bytes", "step_s",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """Predicted and measured, side by side.

    `stopped` says why the search ended before it had an answer, "" where it has one. `bound` says
    what other than memory ended it. `tolerance` is the largest share by which the device total may
    be off. `max_batch_of_all_ranks` is the least answer of the processes that torchrun has started
    on this machine; None without it. `model_arguments` are those that the model was built with.
    `notes` are as in Estimate.
    """

    target: str
    config: StepConfig
    optimizer: str
    device: VerifiedDevice
    predicted: Figures
    measured: Figures
    probes: tuple[ProbeRecord, ...]
    versions: Versions
    tolerance: float
    predicted_categories: Categories = ()
    measured_categories: Categories = ()
    max_batch_of_all_ranks: int | None = None
    stopped: str = ""
    bound: str = ""
    assumptions: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    values: ValuesResult = NO_VALUES_READ  # of the prediction
    weight_dtypes: tuple[WeightDtype, ...] = ()
    model_arguments: tuple[tuple[str, Scalar], ...] = ()

    def errors(self) -> dict[str, float | None]:
        """Signed relative error of each figure in COMPARED; None where one of two is missing."""
        found = {
            name: relative_error(getattr(self.predicted, name), getattr(self.measured, name))
            for name in COMPARED
        }
        if self.bound:
            found["max_batch_size"] = None
        return found

    @property
    def complaints(self) -> tuple[str, ...]:
        """What is outside tolerance, in words; empty: the prediction is confirmed."""
        found = [f"the search has no answer: {self.stopped}"] if self.stopped else []
        predicted, measured = self.predicted.max_batch_size, self.measured.max_batch_size
        if self.predicted == Figures():
            found.append("nothing is predicted for this device")
        # A bound that ended the search says nothing of memory.
        is_off = predicted is not None and measured is not None and predicted > measured
        if is_off and not self.bound:
            found.append(
                f"the predicted largest batch {predicted} lies above the measured {measured}"
            )
        error = self.errors()["device_total_bytes"]
        if error is not None and self._is_off(error):
            found.append(
                f"device total is off by {error:+.1%}, more than {self.tolerance:.1%} allow"
            )
        return tuple(found)

    def _is_off(self, error: float) -> bool:
        """On the CPU too much is none: every page of a tensor is taken to be written."""
        if self.device.kind is DeviceKind.CPU:
            return -error > self.tolerance
        return abs(error) > self.tolerance

    @property
    def is_confirmed(self) -> bool:
        """Whether all is within tolerance."""
        return not self.complaints

    def to_dict(self) -> dict[str, Any]:
        """The JSON document, in stable order, with plain types only."""
        return {
            "schema_version": SCHEMA_VERSION,
            "target": self.target,
            "device": {**asdict(self.device), "kind": self.device.kind.value},
            "config": self._config(),
            "weight_dtypes": [one.to_dict() for one in self.weight_dtypes],
            "predicted": _side(self.predicted, self.predicted_categories),
            "measured": _side(self.measured, self.measured_categories),
            "max_batch_of_all_ranks": self.max_batch_of_all_ranks,
            "error": self.errors(),
            "tolerance": self.tolerance,
            "confirmed": self.is_confirmed,
            "complaints": list(self.complaints),
            "stopped": self.stopped,
            "bound": self.bound,
            "probes": [{**asdict(p), "outcome": p.outcome.value} for p in self.probes],
            "versions": asdict(self.versions),
            "assumptions": list(self.assumptions),
            "warnings": list(self.warnings),
            "values": self.values.to_dict(),
            "model_arguments": dict(self.model_arguments),
        }

    def _config(self) -> dict[str, Any]:
        """The step; one class has several optimizers by name, so that both are kept."""
        optimizer, build_on = self.config.optimizer, self.config.build_on
        found = config_dict(
            self.config, self.optimizer, None if build_on is None else build_on.value
        )
        return {**found, "optimizer_requested": None if optimizer is None else optimizer.value}


def _side(figures: Figures, categories: Categories) -> dict[str, Any]:
    return {**asdict(figures), "breakdown_bytes": dict(categories) or None}


def relative_error(predicted: float | None, measured: float | None) -> float | None:
    """(predicted - measured) / measured; None where one is missing or measured is 0."""
    if predicted is None or not measured:
        return None
    return (predicted - measured) / measured
