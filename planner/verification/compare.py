"""Compares predicted and measured figures.

In: the results of estimate() and of the search. Out: Verification. Convention: the figures on both
sides are those of the largest batch that was measured; only the predicted largest batch is from
before the search.
"""

from __future__ import annotations

import platform

from planner._version import __version__
from planner.config.step import StepConfig
from planner.config.target import Scalar
from planner.config.weights import settled
from planner.emulator.torch_install import find_torch
from planner.memory.probe import ProbeOutcome
from planner.results.estimate import Estimate, Versions
from planner.results.values import NO_VALUES_READ
from planner.results.verification import (
    Categories,
    DeviceKind,
    Figures,
    ProbeRecord,
    Verification,
    VerifiedDevice,
)
from planner.verification.search import Searched


def compare(
    *,
    target: str,
    config: StepConfig,
    device: VerifiedDevice,
    searched: Searched,
    first: Estimate | None,
    at: Estimate | None,
    tolerance: float,
    categories: Categories = (),
    warnings: tuple[str, ...] = (),
    model_arguments: tuple[tuple[str, Scalar], ...] = (),
) -> Verification:
    """Joins estimates and search; `first` is from before the search, `at` is at the measured batch.

    Either is None where nothing can be predicted for this device. `categories` are the measured
    ones.
    """
    known = at or first
    return Verification(
        target=target,
        config=config if known is None else settled(config, known.counts.weight_dtypes),
        optimizer="" if known is None else known.optimizer,
        device=device,
        predicted=_predicted(first, at, device.kind),
        measured=_measured(searched.largest, last_fitting(searched)),
        predicted_categories=_categories(at) if categories else (),
        measured_categories=categories,
        probes=searched.probes,
        versions=_versions() if known is None else known.versions,
        tolerance=tolerance,
        stopped=searched.stopped,
        bound=searched.bound,
        assumptions=() if known is None else known.assumptions,
        notes=() if known is None else known.notes,
        warnings=(*warnings, *(() if known is None else known.warnings)),
        values=NO_VALUES_READ if known is None else known.values,
        weight_dtypes=() if known is None else known.counts.weight_dtypes,
        model_arguments=model_arguments,
    )


def last_fitting(searched: Searched) -> ProbeRecord | None:
    """Returns the last probe of the largest batch that fitted; None where no batch fitted."""
    largest = searched.fitted if searched.largest is None else searched.largest
    fitting = [
        probe
        for probe in searched.probes
        if probe.batch_size == largest and probe.outcome is ProbeOutcome.FITS
    ]
    return fitting[-1] if fitting else None


def _categories(at: Estimate | None) -> Categories:
    found = None if at is None else at.gpus[0].breakdown
    return () if found is None else tuple(found.by_category().items())


def _predicted(first: Estimate | None, at: Estimate | None, kind: DeviceKind) -> Figures:
    largest = None if first is None else first.gpus[0].max_batch_size
    if at is None:
        return Figures(max_batch_size=largest)
    entry = at.gpus[0]
    # On the CPU there is no caching allocator to compare figures of: only the process as a whole.
    has_allocator = kind is not DeviceKind.CPU
    return Figures(
        max_batch_size=largest,
        batch_size=at.config.batch_size,
        peak_allocated_bytes=entry.peak_allocated_bytes,
        peak_reserved_bytes=entry.peak_reserved_bytes if has_allocator else None,
        context_overhead_bytes=entry.context_overhead_bytes,
        device_total_bytes=entry.device_total_bytes,
        # On an emulated card nothing is computed, and the CPU has no model of time.
        step_s=entry.time.step_s if entry.time and kind is DeviceKind.PHYSICAL else None,
    )


def _measured(largest: int | None, probe: ProbeRecord | None) -> Figures:
    if probe is None:
        return Figures(max_batch_size=largest)
    total_bytes = probe.peak_device_bytes
    if probe.peak_reserved_bytes is not None and probe.context_overhead_bytes is not None:
        # Without what other processes hold of the card.
        total_bytes = probe.peak_reserved_bytes + probe.context_overhead_bytes
    return Figures(
        max_batch_size=largest,
        batch_size=probe.batch_size,
        peak_allocated_bytes=probe.peak_allocated_bytes,
        peak_reserved_bytes=probe.peak_reserved_bytes,
        context_overhead_bytes=probe.context_overhead_bytes,
        device_total_bytes=total_bytes,
        step_s=probe.step_s,
    )


def _versions() -> Versions:
    torch = find_torch()
    return Versions(
        torch=torch.version,
        cuda="",
        cudnn=torch.cudnn_version,
        python=platform.python_version(),
        planner=__version__,
    )
