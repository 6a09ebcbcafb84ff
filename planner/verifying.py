"""verify(): the largest batch searched for real, held against what estimate() predicts.

target, device, options
  -> estimate() for that device: the predicted largest batch
  -> a child on the engine of the device; probes, each in a process of its own, until memory is out
  -> estimate() at the batch that was measured; Verification
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from planner.device.build import emulated_device
from planner.device.nvml import Nvml, PhysicalCard, chosen_card, opened
from planner.device.payload import ModelFunctions, child_target
from planner.device.profile import limit_profile
from planner.device.runner import Runner
from planner.device.torch_install import find_torch
from planner.errors import HistoryError, UnknownGpuError, UsageError
from planner.estimation.step_setup import Cards
from planner.host_estimate import (
    CPU_ENVIRONMENT,
    available_memory_bytes,
    caller_label,
    cpu_name,
    host_estimate,
    memory_limit,
    opened_host,
)
from planner.memory.budget import memory_budgets
from planner.memory.timeline import Breakdown
from planner.options import arguments, step_config
from planner.pipeline import estimate
from planner.protocol import Engine
from planner.results import Estimate, GpuEstimate
from planner.trace import TensorCategory
from planner.units import format_bytes, parse_fraction, parse_reserve
from planner.verification import history
from planner.verification.bounds import search_bound
from planner.verification.compare import compare, last_fitting
from planner.verification.observations import (
    EmulatedObservation,
    HostObservation,
    watched_card,
)
from planner.verification.probes import Lab, observed
from planner.verification.records import DeviceKind, Verification, VerifiedDevice
from planner.verification.search import Searched, SearchPlan, search
from planner.workload import StepConfig

Progress = Callable[[str], None]
DEFAULT_TOLERANCE = "3%"
_WITHOUT_PREDICTION = 8
_CPU_RESOLUTION = 256  # the search on the CPU is exact to 1/256 of the prediction: a probe is slow


def verify(
    target: Any,
    *,
    emulated: str | None = None,
    device: str | None = None,
    memory: str | int | None = None,
    safety: str | int = 0,
    tolerance: str | float = DEFAULT_TOLERANCE,
    max_batch: int | None = None,
    build_batch: Callable[..., Any] | None = None,
    training_step: Callable[[Any, Any], Any] | None = None,
    build_optimizer: Callable[[Any], Any] | None = None,
    model_arguments: Mapping[str, Any] | None = None,
    timeout_s: float = 600.0,
    hardware_db: str | Path | None = None,
    on_progress: Progress | None = None,
    **options: Any,
) -> Verification:
    """Search the largest batch for real and compare it with the prediction.

    `target` and `options` are those of estimate(). The device is a physical card ("cuda", "cuda:1";
    the default), "cpu" with at most `memory` of RAM, or with `emulated` a card that is not there.
    `safety` is kept free, like "1GiB" or "5%"; `tolerance` is the share by which the device total
    may be off.

    Raises:
        PlannerError: see errors.py. Not fitting, and a prediction that is off, are results.
    """
    if emulated is not None and device is not None:
        raise UsageError(f"say either emulated {emulated!r} or device {device!r}, not both")
    if memory is not None and device != "cpu":
        raise UsageError("memory is the limit of a run on the CPU: say device cpu with it")
    if max_batch is not None and max_batch < 1:
        raise UsageError(f"max_batch must be at least 1, not {max_batch}")
    job = _Job(
        target=target,
        functions=ModelFunctions(
            build_batch=build_batch, training_step=training_step, build_optimizer=build_optimizer
        ),
        given=arguments(model_arguments or {}, "model_arguments"),
        config=step_config(options),
        options=options,
        safety=safety,
        tolerance=parse_fraction(tolerance, "tolerance"),
        max_batch=max_batch,
        timeout_s=timeout_s,
        hardware_db=None if hardware_db is None else Path(hardware_db),
        progress=on_progress or (lambda _: None),
    )
    if emulated is not None:
        return _on_emulated(job, emulated)
    if device == "cpu":
        return _on_cpu(job, memory_limit(memory))
    with opened() as nvml:
        return _on_card(job, nvml, chosen_card(nvml.cards(), device or _own_device()))


def _own_device() -> str:
    """The first card; under torchrun, which names the place of each process, that one's own."""
    return f"cuda:{os.environ.get('LOCAL_RANK') or 0}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """What was asked for, whatever the device."""

    target: Any
    functions: ModelFunctions
    given: tuple[tuple[str, Any], ...]
    config: StepConfig
    options: Mapping[str, Any]
    safety: str | int
    tolerance: float
    max_batch: int | None
    timeout_s: float
    hardware_db: Path | None
    progress: Progress

    def predicted(self, gpu: str, *, max_batch: bool, **options: Any) -> Estimate:
        """What estimate() says."""
        functions = self.functions
        return estimate(
            self.target,
            gpu=gpu,
            build_batch=functions.build_batch,
            training_step=functions.training_step,
            build_optimizer=functions.build_optimizer,
            model_arguments=dict(self.given),
            max_batch=max_batch,
            timeout_s=self.timeout_s,
            hardware_db=self.hardware_db,
            on_progress=self.progress,
            **{**self.options, **options},
        )


def _on_emulated(job: _Job, card: str) -> Verification:
    (budget,) = memory_budgets(
        [card], hardware_db=job.hardware_db, gpu_memory=None, reserve=job.safety
    )
    first = job.predicted(card, max_batch=True, reserve=job.safety)
    torch = find_torch()
    cards = Cards(torch=torch, device=emulated_device(torch, job.progress))
    observation = EmulatedObservation(context_overhead_bytes=budget.context_overhead_bytes)
    with child_target(job.target, job.functions, job.given) as named:
        open_runner = partial(
            Runner,
            named,
            device=cards.device,
            profile=cards.unlimited(budget),
            timeout_s=job.timeout_s,
            alloc_conf=job.config.alloc_conf,
        )
        with Lab(
            open_runner=open_runner,
            profile=cards.limited(budget),
            config=job.config,
            progress=job.progress,
            observe=lambda: observed(observation),
        ) as lab:
            found = _searched(job, lab, first, host_bytes=None)
    verified = VerifiedDevice(
        name=budget.card.name,
        kind=DeviceKind.EMULATED,
        memory_bytes=budget.usable_memory_bytes,
        limit=f"the emulated card gives PyTorch's allocator {format_bytes(budget.capacity_bytes)}",
    )
    predicted = partial(job.predicted, card, max_batch=False, reserve=job.safety)
    return _compared(job, verified, first, found, predicted)


def _on_card(job: _Job, nvml: Nvml, card: PhysicalCard) -> Verification:
    used_bytes, users = nvml.used_bytes(card), nvml.users(card)
    usable_bytes = card.usable_memory_bytes
    kept_bytes = parse_reserve(job.safety, usable_bytes)
    # What was learnt from runs on this card is left out: it is to be learnt from this one.
    free = {
        "gpu_memory": usable_bytes - used_bytes,
        "reserve": kept_bytes,
        "calibration": False,
    }
    notes = []
    if users:
        notes.append(
            f"{len(users)} other processes hold {format_bytes(used_bytes)} of the card: "
            f"{', '.join(str(user.pid) for user in users)}; the prediction leaves it to them"
        )
    first = None
    try:
        first = job.predicted(card.name, max_batch=True, **free)
    except UnknownGpuError as error:
        notes.append(f"nothing is predicted: {error}")
    fraction = (usable_bytes - kept_bytes) / usable_bytes if kept_bytes else None
    environment = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": card.uuid}
    with child_target(job.target, job.functions, job.given) as named:
        open_runner = partial(
            Runner,
            named,
            device=Engine.CUDA,
            timeout_s=job.timeout_s,
            alloc_conf=job.config.alloc_conf,
            environment=environment,
        )
        with Lab(
            open_runner=open_runner,
            profile=limit_profile(memory_fraction=fraction),
            config=job.config,
            progress=job.progress,
            observe=lambda: watched_card(nvml, card),
            is_timed=True,
        ) as lab:
            found = _searched(job, lab, first, host_bytes=available_memory_bytes())
    verified = VerifiedDevice(
        name=card.name,
        kind=DeviceKind.PHYSICAL,
        memory_bytes=usable_bytes,
        limit="the card itself" if fraction is None else f"{fraction:.1%} of the card, by PyTorch",
        driver=card.driver,
        ecc=card.ecc,
        power_limit_w=card.power_limit_w,
        other_processes_bytes=used_bytes,
    )
    predicted = None
    if first is not None:
        predicted = partial(job.predicted, card.name, max_batch=False, **free)
    return _kept(_compared(job, verified, first, found, predicted, tuple(notes)))


def _on_cpu(job: _Job, memory_bytes: int) -> Verification:
    kept_bytes = parse_reserve(job.safety, memory_bytes)
    limit_bytes = memory_bytes - kept_bytes
    with opened_host(
        job.target,
        job.functions,
        job.given,
        config=job.config,
        memory_bytes=limit_bytes,
        search=True,
        timeout_s=job.timeout_s,
        progress=job.progress,
    ) as host:
        name = caller_label(job.target, host.named)
        first = host_estimate(name, job.config, host, limit_bytes)
        data_bytes = host.answer.forecast.data_limit_bytes(limit_bytes)
        open_runner = partial(
            Runner,
            host.named,
            device=Engine.CPU,
            timeout_s=job.timeout_s,
            environment=CPU_ENVIRONMENT,
        )
        with Lab(
            open_runner=open_runner,
            profile=limit_profile(data_limit_bytes=data_bytes),
            config=job.config,
            progress=job.progress,
            observe=lambda: observed(HostObservation()),
        ) as lab:
            found = _searched(job, lab, first, host_bytes=None, resolution=_CPU_RESOLUTION)

        def predicted(*, batch_size: int) -> Estimate:
            config = replace(job.config, batch_size=batch_size)
            return host_estimate(name, config, host, limit_bytes)

        verified = VerifiedDevice(
            name=cpu_name(),
            kind=DeviceKind.CPU,
            memory_bytes=limit_bytes,
            limit=f"RLIMIT_DATA of {format_bytes(data_bytes)}, enforced by the kernel",
        )
        return _compared(job, verified, first, found, predicted)


def _searched(
    job: _Job, lab: Lab, first: Estimate | None, *, host_bytes: int | None, resolution: int = 0
) -> Searched:
    """The search from the predicted batch on."""
    entry = None if first is None else first.gpus[0]
    predicted = _WITHOUT_PREDICTION
    if entry is not None and entry.max_batch_size is not None:
        predicted = max(1, entry.max_batch_size)
    largest, batch = _per_sample(entry, job.config.batch_size)
    bound = search_bound(
        max_batch=job.max_batch,
        predicted=predicted,
        largest_tensor_bytes_per_sample=largest,
        batch_bytes_per_sample=batch,
        host_bytes=host_bytes,
    )
    plan = SearchPlan(
        predicted=predicted,
        bound=bound.batch_size,
        bound_reason=bound.reason,
        resolution=max(1, predicted // resolution) if resolution else 1,
        retest=lab.is_timed,
    )
    return search(lab.probe, plan)


def _per_sample(entry: GpuEstimate | None, batch_size: int) -> tuple[float, float]:
    """Bytes of the largest tensor and of the batch, for one sample; 0 where not known."""
    found: Breakdown | None = None if entry is None else entry.breakdown
    if found is None:
        return 0.0, 0.0
    growing = (TensorCategory.SAVED_ACTIVATION, TensorCategory.TEMPORARY)
    sizes = [block.block_bytes for block in found.largest(10) if block.category in growing]
    batch = found.by_category().get(TensorCategory.INPUT.value, 0)
    return max(sizes, default=0) / batch_size, batch / batch_size


def _compared(
    job: _Job,
    device: VerifiedDevice,
    first: Estimate | None,
    searched: Searched,
    predict: Callable[..., Estimate] | None,
    warnings: tuple[str, ...] = (),
) -> Verification:
    """The search held against the prediction, whose figures are those of the measured batch."""
    probe = last_fitting(searched)
    at = None
    if predict is not None and probe is not None:
        job.progress(f"predicting batch {probe.batch_size}")
        at = predict(batch_size=probe.batch_size)
    return compare(
        target=str(job.target) if first is None else first.target,
        config=job.config,
        device=device,
        searched=searched,
        first=first,
        at=at,
        tolerance=job.tolerance,
        warnings=warnings,
    )


def _kept(verification: Verification) -> Verification:
    """Keeps a verification in the history; one that cannot be kept is worth no less to the user."""
    if verification.measured.max_batch_size is None:
        return verification
    try:
        history.add(verification)
    except HistoryError as error:
        said = f"this verification could not be kept: {error}"
        return replace(verification, warnings=(*verification.warnings, said))
    return verification
