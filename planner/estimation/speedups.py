"""Suggests changes that make a step faster by acting on its bottleneck, with their factors.

In: TimedStep and its parts. Out: Gains, the largest first. Convention: a factor is throughput with
the change over that without; the next slowest part of the step limits it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import ceil

from planner.config.step import Precision
from planner.config.weights import are_mainly_float32
from planner.estimation.timed_step import TimedStep, Variant
from planner.input_pipeline.feeding import cores_needed, workers_needed
from planner.input_pipeline.host_budget import HostBudget
from planner.input_pipeline.loader import Loader
from planner.input_pipeline.rates import InputLimit
from planner.results.step_time import Gain
from planner.timing.bottleneck import Bound, StepParts
from planner.timing.changes import in_channels_last, in_half
from planner.timing.roofline import Change

_WORTH_FACTOR = 1.05  # a gain below this is within the error of the model


def gains(
    step: TimedStep, parts: StepParts, bound: Bound, largest_batch: int | None
) -> tuple[Gain, ...]:
    """Returns changes of at least _WORTH_FACTOR; empty where the job does not fit in memory.

    `largest_batch` is the largest one that fits, None where it was not searched.
    """
    if bound in (Bound.DATA, Bound.COPY):
        found = [*_loader_gains(step, parts), *_host_gains(step, parts)]
    elif bound is Bound.LAUNCHES:
        found = list(_larger_batch(step, parts, largest_batch))
    elif bound in (Bound.COMPUTE, Bound.BANDWIDTH):
        found = [_gain(step, parts, text, one) for text, one in _kernel_changes(step)]
    else:
        found = []
    worth = [gain for gain in found if gain.factor >= _WORTH_FACTOR]
    return tuple(sorted(worth, key=lambda gain: -gain.factor))


def _gain(step: TimedStep, parts: StepParts, text: str, variant: Variant) -> Gain:
    samples = (variant.batch_size or step.config.batch_size) / step.config.batch_size
    return Gain(change=text, factor=samples * parts.step_s / step.parts(variant).step_s)


def _fed(step: TimedStep, parts: StepParts, text: str, loader: Loader) -> Gain:
    """Returns the gain of feeding `parts` from the host of `step` by another loader."""
    return Gain(change=text, factor=parts.step_s / step.fed_by(parts, loader).step_s)


def _kernel_changes(step: TimedStep) -> Iterator[tuple[str, Variant]]:
    """Yields changes of the kernels; half precision only where the model is in float32."""
    config, rates = step.config, step.card.peak_flops_per_s
    if _is_in_float32(step):
        has_bf16 = rates.bf16 is not None
        half, option = ("bfloat16", "amp-bf16") if has_bf16 else ("float16", "amp-fp16")
        yield f"--precision {option}", Variant(change=lambda one, phase: in_half(one, phase, half))
        if not config.channels_last:
            both: Change = lambda one, phase: in_channels_last(in_half(one, phase, half))  # noqa: E731 typed
            yield f"--precision {option} --channels-last", Variant(change=both)
        if rates.tf32 is not None and not step.counted.tf32_matmul:
            yield "torch.backends.cuda.matmul.allow_tf32 = True", Variant(allow_tf32=True)
    elif not config.channels_last:
        yield "--channels-last", Variant(change=lambda one, _: in_channels_last(one))


def _is_in_float32(step: TimedStep) -> bool:
    """Returns whether autocast is off and the weights are float32, at least most of them."""
    precision = step.config.precision
    if precision in (None, Precision.AS_BUILT):
        return are_mainly_float32(step.counted.counts.weight_dtypes)
    return precision is Precision.FP32


def _larger_batch(step: TimedStep, parts: StepParts, largest_batch: int | None) -> Iterator[Gain]:
    """Yields the batch whose work takes as long as its launches, or the largest that fits."""
    work_s = parts.compute_s + parts.bandwidth_s
    if work_s <= 0:
        return
    size = ceil(step.config.batch_size * parts.card_s / work_s)
    if largest_batch is not None:
        size = min(size, largest_batch)
    if size > step.config.batch_size:
        text = f"--batch {size}" + (", if it fits" if largest_batch is None else "")
        yield _gain(step, parts, text, Variant(batch_size=size))


def _loader_gains(step: TimedStep, parts: StepParts) -> Iterator[Gain]:
    """Yields other settings of the DataLoader on the same host."""
    loader, times = step.request.loader, parts.input
    assert times is not None, "what is bound by its input has one"
    if not loader.pin_memory:
        pinned = replace(loader, pin_memory=True)
        yield _fed(step, parts, "pinned memory", pinned)
    elif times.limit is InputLimit.HAND_OVER:  # the training process pins
        unpinned = replace(loader, pin_memory=False)
        yield _fed(step, parts, "--no-pin-memory", unpinned)
    if times.limit not in (InputLimit.WORKERS, InputLimit.NO_WORKERS):
        return
    assert step.item is not None
    assert step.request.host is not None
    needed = workers_needed(
        step.item,
        step.samples / parts.own_s,
        step.request.host,
        batch_size=step.config.batch_size,
        pin_memory=loader.pin_memory,
        trainer_s=step.launch_s()[0],
    )
    workers = needed.workers or step.request.host.threads
    if workers > loader.workers:
        more = replace(loader, workers=workers)
        yield _fed(step, parts, f"--workers {workers}", more)


def _host_gains(step: TimedStep, parts: StepParts) -> Iterator[Gain]:
    """Yields gains of another host: faster storage, or more cores with workers for them."""
    item, host, times = step.item, step.request.host, parts.input
    loader = step.request.loader
    assert item is not None
    assert host is not None
    assert times is not None
    if times.limit is InputLimit.STORAGE:
        yield _on_host("faster storage", step, parts, replace(host, storage_bytes_per_s=None))
    wanted = step.samples / parts.own_s
    needed = cores_needed(
        item, wanted, host, batch_size=step.config.batch_size, pin_memory=loader.pin_memory
    )
    if needed.cores is None:
        return
    cores = ceil(needed.cores) + 1  # one for the training loop
    if parts.loader_s > parts.own_s and cores > host.cores:
        larger = replace(host, cores=float(cores), threads=ceil(cores * host.threads / host.cores))
        workers = max(cores, loader.workers)
        also = f", --workers {workers}" if workers > loader.workers else ""
        yield _on_host(f"a host with {cores} cores like these{also}", step, parts, larger, workers)


def _on_host(
    text: str, step: TimedStep, parts: StepParts, host: HostBudget, workers: int | None = None
) -> Gain:
    loader = step.request.loader
    if workers is not None:
        loader = replace(loader, workers=workers)
    return _fed(replace(step, request=replace(step.request, host=host)), parts, text, loader)
