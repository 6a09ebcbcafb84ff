"""Compares a run with its prediction: figures for a log, and the entry of the history.

In: an Estimate, a Measurement. Out: figures by name; a Verification, or why it is none.
"""

from __future__ import annotations

import os
import platform

from planner._version import __version__
from planner.callbacks.measurement import Measurement
from planner.results.device_estimate import DeviceEstimate
from planner.results.estimate import EMULATED, Estimate, Versions
from planner.results.verification import (
    DeviceKind,
    Figures,
    Verification,
    VerifiedDevice,
    relative_error,
)
from planner.units import GIB, format_bytes

TOLERANCE = 0.03  # that of `planner verify`
_ANOTHER_STEP = 0.25  # further off than any published run: the estimate is of another step
_SETTINGS = ("PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF")


def card_of(estimate: Estimate, measured: Measurement) -> DeviceEstimate | None:
    """Returns the estimate's answer for the card of the run; None where it has none."""
    if estimate.engine != EMULATED:
        return None
    return next((entry for entry in estimate.gpus if entry.name == measured.card), None)


def log_figures(
    predicted: DeviceEstimate | None, measured: Measurement, step_s: float | None
) -> dict[str, float]:
    """Returns the figures for the user's log: sizes in GiB, times in seconds, errors relative."""
    before: dict[str, int] = {}
    if predicted is not None:
        before = {
            "peak_allocated": predicted.peak_allocated_bytes,
            "peak_reserved": predicted.peak_reserved_bytes,
            "device_total": predicted.device_total_bytes,
        }
    after = {
        "peak_allocated": measured.peak_allocated_bytes,
        "peak_reserved": measured.peak_reserved_bytes,
        "device_total": measured.device_total_bytes,
    }
    found: dict[str, float] = {}
    for name, after_bytes in after.items():
        before_bytes = before.get(name)
        if before_bytes is not None:
            found[f"planner/{name}_predicted_gib"] = before_bytes / GIB
        if after_bytes is not None:
            found[f"planner/{name}_measured_gib"] = after_bytes / GIB
        error = relative_error(before_bytes, after_bytes)
        if error is not None:
            found[f"planner/{name}_error"] = error
    if predicted is not None and predicted.time is not None:
        found["planner/step_s_predicted"] = predicted.time.step_s
    if step_s is not None:
        found["planner/step_s_measured"] = step_s
    return found


def why_not_kept(
    estimate: Estimate,
    predicted: DeviceEstimate | None,
    measured: Measurement,
    batch_size: int | None,
) -> str | None:
    """Returns why the run shows nothing about the prediction; None: it does."""
    if not measured.is_physical:
        return "the driver of this machine does not know the card"
    if predicted is None:
        known = ", ".join(entry.name for entry in estimate.gpus)
        return f"the run is on {measured.card}, and the estimate is of {known}"
    if int(os.environ.get("WORLD_SIZE", "1") or 1) > 1:
        return "the run has several processes, and the estimate is of one"
    asked = estimate.config.batch_size
    if batch_size != asked:
        known = "is not known" if batch_size is None else f"is {batch_size}"
        return f"the batch of the run {known}, and that of the estimate is {asked}"
    if measured.torch != estimate.versions.torch:
        return f"the run has torch {measured.torch}, the estimate torch {estimate.versions.torch}"
    setting = next((os.environ[name] for name in _SETTINGS if os.environ.get(name)), None)
    if setting != estimate.config.alloc_conf:
        return (
            f"the allocator's settings are {setting}, in the estimate {estimate.config.alloc_conf}"
        )
    error = relative_error(predicted.peak_reserved_bytes, measured.peak_reserved_bytes)
    if error is None or abs(error) > _ANOTHER_STEP:
        return (
            f"peak reserved is {format_bytes(measured.peak_reserved_bytes)}, and the estimate has "
            f"{format_bytes(predicted.peak_reserved_bytes)}: it is of another step"
        )
    return None


def verification(
    estimate: Estimate, predicted: DeviceEstimate, measured: Measurement
) -> Verification:
    """Returns the run as `planner history` keeps it."""
    batch_size = estimate.config.batch_size
    return Verification(
        target=estimate.target,
        config=estimate.config,
        optimizer=estimate.optimizer,
        device=VerifiedDevice(
            name=measured.card,
            kind=DeviceKind.PHYSICAL,
            memory_bytes=measured.total_bytes,
            limit="the card itself, in a training run",
            driver=measured.driver,
        ),
        predicted=Figures(
            batch_size=batch_size,
            peak_allocated_bytes=predicted.peak_allocated_bytes,
            peak_reserved_bytes=predicted.peak_reserved_bytes,
            context_overhead_bytes=predicted.context_overhead_bytes,
            device_total_bytes=predicted.device_total_bytes,
        ),
        measured=Figures(
            batch_size=batch_size,
            peak_allocated_bytes=measured.peak_allocated_bytes,
            peak_reserved_bytes=measured.peak_reserved_bytes,
            context_overhead_bytes=measured.context_overhead_bytes,
            device_total_bytes=measured.device_total_bytes,
        ),
        probes=(),
        versions=Versions(
            torch=measured.torch,
            cuda=measured.cuda,
            cudnn=measured.cudnn,
            python=platform.python_version(),
            planner=__version__,
        ),
        tolerance=TOLERANCE,
        weight_dtypes=estimate.counts.weight_dtypes,
        model_arguments=estimate.model_arguments,
    )
