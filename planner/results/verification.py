"""The result of a verification: probes, predicted and measured figures, and their JSON form.

In: nothing. Out: Verification and its parts. Convention: bytes and seconds; an error is signed and
relative, (predicted - measured) / measured. The JSON form is a contract: keys are added, never
changed or removed.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import Enum
from typing import TYPE_CHECKING, cast

from planner.config.step import StepConfig
from planner.config.target import Scalar
from planner.config.weights import WeightDtype
from planner.memory.probe import ProbeOutcome
from planner.results.estimate import (
    SCHEMA_VERSION,
    Versions,
    config_dict,
    weight_documents,
)
from planner.results.result import Result
from planner.results.shown import Shown
from planner.results.values import NO_VALUES_READ, ValuesResult

if TYPE_CHECKING:
    from planner.results.schema.job import VerifiedConfigDocument
    from planner.results.schema.verification import (
        FiguresDocument,
        ProbeDocument,
        VerificationDocument,
        VerifiedDeviceDocument,
    )


class DeviceKind(str, Enum):
    """The kind of device that the steps ran on."""

    PHYSICAL = "physical"
    """A real GPU."""
    EMULATED = "emulated"
    """PyTorch's allocator and its OutOfMemoryError, on a card that is not there."""
    CPU = "cpu"
    """Real memory of this machine, under a limit that the kernel enforces."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedDevice:
    """The verified device. None: not known, or it does not apply."""

    name: str
    """Full name of the card or processor."""
    kind: DeviceKind
    """Kind of device that the steps ran on."""
    memory_bytes: int
    """Total memory of the card as torch reports it; on the CPU the limit."""
    limit: str = ""
    """How the limit was enforced; "": there is none."""
    driver: str | None = None
    """Version of the driver; None without a physical card."""
    ecc: bool | None = None
    """Whether ECC is on; None: not known."""
    power_limit_w: float | None = None
    """Power limit in watts; None: not known."""
    other_processes_bytes: int | None = None
    """Memory of other processes on the card before; None: not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeRecord:
    """One run of the step in a process of its own. None: not known, or it did not get that far."""

    batch_size: int
    """Samples of one micro-batch."""
    outcome: ProbeOutcome
    """How it ended."""
    seconds: float
    """Seconds of the whole run."""
    peak_allocated_bytes: int | None = None
    """Most bytes in tensors at a time."""
    peak_reserved_bytes: int | None = None
    """Most bytes held by PyTorch's allocator."""
    peak_device_bytes: int | None = None
    """Most bytes that the whole device held; on the CPU, the process in RAM."""
    device_before_bytes: int | None = None
    """Bytes that the device held before the run."""
    context_overhead_bytes: int | None = None
    """Bytes that the process held outside PyTorch's allocator."""
    step_s: float | None = None
    """Median seconds of the steps after the first."""
    detail: str = ""
    """Cause of its end, in words; "": nothing to say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Predicted or measured figures at one batch; None where there is none."""

    max_batch_size: int | None = None
    """Largest batch; 0: batch 1 does not fit; None: the search could not end."""
    batch_size: int | None = None
    """Batch of the figures below."""
    peak_allocated_bytes: int | None = None
    """Most bytes in tensors at a time."""
    peak_reserved_bytes: int | None = None
    """Most bytes held by PyTorch's allocator."""
    context_overhead_bytes: int | None = None
    """Bytes that the process held outside PyTorch's allocator."""
    device_total_bytes: int | None = None
    """Peak reserved and the memory outside of it."""
    step_s: float | None = None
    """Seconds of one optimizer step."""


# Bytes of the peak allocated by category, as TensorCategory names it; empty where not recorded.
Categories = tuple[tuple[str, int], ...]

COMPARED = (
    "max_batch_size", "peak_allocated_bytes", "peak_reserved_bytes", "context_overhead_bytes",
    "device_total_bytes", "step_s",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Verification(Result, Shown):
    """Predicted and measured, side by side."""

    target: str
    """The model in the words of the caller, or the name of the live object."""
    config: StepConfig
    """How the step was run."""
    optimizer: str
    """Class of the optimizer; "" without one, or where it is not known."""
    device: VerifiedDevice
    """The verified device."""
    predicted: Figures
    """Figures that estimate() predicts."""
    measured: Figures
    """Figures that the probes measured."""
    probes: tuple[ProbeRecord, ...]
    """The runs, in order."""
    versions: Versions
    """Versions of the software that made the figures."""
    tolerance: float
    """Largest share, from 0 to 1, by which the device total may be off."""
    predicted_categories: Categories = ()
    """Bytes of the predicted peak by category; empty: not recorded."""
    measured_categories: Categories = ()
    """Bytes of the measured peak by category; empty: not recorded."""
    max_batch_of_all_ranks: int | None = None
    """Least answer of the processes of torchrun on this machine; None without it."""
    stopped: str = ""
    """Why the search ended before it had an answer; "": it has one."""
    bound: str = ""
    """Limit other than memory that ended the search; "": memory did."""
    assumptions: tuple[str, ...] = ()
    """Choices made for the caller, a sentence each."""
    notes: tuple[str, ...] = ()
    """Those of `assumptions` that are good to know and cannot make a figure wrong."""
    warnings: tuple[str, ...] = ()
    """Reasons to doubt figures, a sentence each."""
    values: ValuesResult = NO_VALUES_READ
    """Values that the step reads from the card, in the prediction."""
    weight_dtypes: tuple[WeightDtype, ...] = ()
    """Parameters by dtype, most bytes first."""
    model_arguments: tuple[tuple[str, Scalar], ...] = ()
    """Name and value of each argument that the model was built with."""

    def errors(self) -> dict[str, float | None]:
        """Returns the signed relative error of each figure in COMPARED; None if not comparable."""
        found = {
            name: relative_error(getattr(self.predicted, name), getattr(self.measured, name))
            for name in COMPARED
        }
        if self.bound:
            found["max_batch_size"] = None
        return found

    @property
    def complaints(self) -> tuple[str, ...]:
        """Returns sentences on figures outside tolerance; empty: the prediction is confirmed."""
        found = [f"the search has no answer: {self.stopped}"] if self.stopped else []
        predicted, measured = self.predicted.max_batch_size, self.measured.max_batch_size
        if self.predicted == Figures():
            found.append("nothing is predicted for this device")
        # A bound that ended the search shows nothing about memory.
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
        """Returns whether an error is too large.

        On the CPU a prediction may be too high: it counts every page of a tensor as written.
        """
        if self.device.kind is DeviceKind.CPU:
            return -error > self.tolerance
        return abs(error) > self.tolerance

    @property
    def is_confirmed(self) -> bool:
        """Returns whether all is within tolerance."""
        return not self.complaints

    def to_dict(self) -> VerificationDocument:
        """Returns the JSON document, in stable order, with plain types only."""
        return {
            "schema_version": SCHEMA_VERSION,
            "target": self.target,
            "device": _device(self.device),
            "config": self._config(),
            "weight_dtypes": weight_documents(self.weight_dtypes),
            "predicted": _side(self.predicted, self.predicted_categories),
            "measured": _side(self.measured, self.measured_categories),
            "max_batch_of_all_ranks": self.max_batch_of_all_ranks,
            "error": self.errors(),
            "tolerance": self.tolerance,
            "confirmed": self.is_confirmed,
            "complaints": list(self.complaints),
            "stopped": self.stopped,
            "bound": self.bound,
            "probes": [_probe(one) for one in self.probes],
            "versions": self.versions.to_dict(),
            "assumptions": list(self.assumptions),
            "warnings": list(self.warnings),
            "values": self.values.to_dict(),
            "model_arguments": dict(self.model_arguments),
        }

    def _config(self) -> VerifiedConfigDocument:
        """Returns the step with class and name of the optimizer: several names have one class."""
        optimizer, build_on = self.config.optimizer, self.config.build_on
        found = config_dict(
            self.config, self.optimizer, None if build_on is None else build_on.value
        )
        return {**found, "optimizer_requested": None if optimizer is None else optimizer.value}


def _side(figures: Figures, categories: Categories) -> FiguresDocument:
    found = {**asdict(figures), "breakdown_bytes": dict(categories) or None}
    return cast("FiguresDocument", found)


def _device(device: VerifiedDevice) -> VerifiedDeviceDocument:
    return cast("VerifiedDeviceDocument", {**asdict(device), "kind": device.kind.value})


def _probe(probe: ProbeRecord) -> ProbeDocument:
    return cast("ProbeDocument", {**asdict(probe), "outcome": probe.outcome.value})


def relative_error(predicted: float | None, measured: float | None) -> float | None:
    """Returns (predicted - measured) / measured; None where one is missing or measured is 0."""
    if predicted is None or not measured:
        return None
    return (predicted - measured) / measured
