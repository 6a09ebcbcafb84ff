"""Gives advice for cards that are too small: by how much, and changes that take less memory.

In: Estimate. Out: sentences. Convention: the advice holds for every model; the next run shows
whether it is enough.
"""

from __future__ import annotations

from planner.config.parallel import DataParallel
from planner.config.step import Mode, Precision, StepConfig
from planner.config.weights import are_mainly_float32
from planner.results.device_estimate import DeviceEstimate
from planner.results.estimate import EMULATED, Estimate
from planner.units import MIB, format_bytes
from planner.wire.trace import TensorCategory

_EXPANDABLE = "expandable_segments:True"
_CAST_TO_HALF = (Precision.FP16, Precision.BF16)
_ADVISE = "planner advise, with the same words and one card, tries these and more"
_WORTH_BYTES = MIB  # below it there is nothing to save
# Classes that keep two values for each parameter.
_TWO_STATES = ("Adam", "AdamW")  # of torch.optim, in the dtype of the parameter
_TWO_BYTES = ("Adam8bit", "AdamW8bit")  # of bitsandbytes, in a byte each


def advice(estimate: Estimate) -> tuple[str, ...]:
    """Returns a sentence for each card that is too small, then changes that take less memory."""
    small = [entry for entry in estimate.gpus if not entry.fits]
    if not small:
        return ()
    said = [_shortfall(entry, estimate.config) for entry in small]
    if _may_be_fragmented(estimate):
        said.append(
            f"peak allocated would fit, peak reserved does not; --alloc-conf {_EXPANDABLE} lowers "
            "what the allocator reserves beyond it"
        )
    less = _takes_less(estimate)
    if less:
        said.append(f"to take less memory: {'; '.join(less)}")
        is_planned = estimate.engine == EMULATED and estimate.build_on  # no script, and no CPU
        if is_planned and estimate.config.parallel is None:
            said.append(_ADVISE)
    return tuple(said)


def _shards(config: StepConfig) -> tuple[str, ...]:
    """Returns the option that shards what each GPU keeps whole; none if it is sharded."""
    parallel = config.parallel
    if parallel is None or parallel.data not in (DataParallel.DDP, DataParallel.ZERO1):
        return ()
    return ("--parallel fsdp (parameters, gradients and state in shards)",)


def changes_that_take_less(estimate: Estimate) -> tuple[str, ...]:
    """Returns only options that may make the step fit; none if it fits on every card."""
    if all(entry.fits for entry in estimate.gpus):
        return ()
    segments = (f"--alloc-conf {_EXPANDABLE}",) if _may_be_fragmented(estimate) else ()
    return (*segments, *(text.partition(" (")[0] for text in _takes_less(estimate)))


def _may_be_fragmented(estimate: Estimate) -> bool:
    """Returns whether peak allocated would fit on some card, if the allocator has its defaults."""
    small = [entry for entry in estimate.gpus if not entry.fits]
    return any(map(_is_fragmented, small)) and estimate.config.alloc_conf is None


def _shortfall(entry: DeviceEstimate, config: StepConfig) -> str:
    kept = f" with {format_bytes(entry.reserve_bytes)} kept free" if entry.reserve_bytes else ""
    text = (
        f"{entry.requested}: batch {config.batch_size} takes "
        f"{format_bytes(entry.device_total_bytes)} of {format_bytes(entry.usable_memory_bytes)}"
        f"{kept}, {format_bytes(entry.missing_bytes)} too much"
    )
    if entry.max_batch_size is None or config.batch_size == 1:
        return text
    if entry.max_batch_size == 0:
        over = entry.batch_1_missing_bytes
        by = "" if over is None else f": {format_bytes(over)} too much"
        return f"{text}; batch 1 does not run either{by}"
    return (
        f"{text}; the largest batch that fits is {entry.max_batch_size}"
        f"{_same_samples(config, entry.max_batch_size)}"
    )


def _same_samples(config: StepConfig, largest: int) -> str:
    """Returns how to keep the samples of one optimizer step with smaller micro-batches."""
    if config.mode is not Mode.TRAIN or largest >= config.batch_size:
        return ""
    micro = max(size for size in range(1, largest + 1) if config.batch_size % size == 0)
    times = config.accumulate * config.batch_size // micro
    samples = config.accumulate * config.batch_size
    return f" (to keep {samples} samples a step, try --batch {micro} --accumulate {times})"


def _is_fragmented(entry: DeviceEstimate) -> bool:
    beside = entry.context_overhead_bytes + entry.reserve_bytes + entry.reserved_offset_bytes
    needed = entry.peak_allocated_bytes + beside + entry.outside_bytes
    return needed <= entry.usable_memory_bytes


def _holds_activations(estimate: Estimate) -> bool:
    """Returns whether saved activations are in the peak of a too small card; True: not known."""
    known = [e.peak_summary for e in estimate.gpus if not e.fits and e.peak_summary is not None]
    name = TensorCategory.SAVED_ACTIVATION.value
    return not known or any(b.by_category().get(name, 0) > _WORTH_BYTES for b in known)


def _takes_less(estimate: Estimate) -> list[str]:
    config = estimate.config
    trains = config.mode is Mode.TRAIN
    found = list(_shards(config))
    if trains and not config.checkpoint_activations and _holds_activations(estimate):
        found.append("--checkpoint-activations (computes them again in backward)")
    is_single = are_mainly_float32(estimate.counts.weight_dtypes)
    if config.precision not in _CAST_TO_HALF and is_single:
        what = "weights, gradients and optimizer state" if trains else "weights"
        found.append(f"--precision bf16 or fp16 ({what} in 2 bytes a value)")
    if trains:
        found += _smaller_state(estimate.optimizer)
    if trains and config.accumulate > 1:
        found.append("no --accumulate (gradients are then gone during forward)")
    if trains and not config.set_to_none:
        found.append("no --no-set-to-none (the same)")
    return found


def _smaller_state(optimizer: str) -> list[str]:
    """Returns other optimizers, in place of one that keeps two values for each parameter."""
    kind = optimizer.partition(" (")[0]  # without "(fused)"
    sgd = f"--optimizer sgd (no state; {kind} keeps 2 {{}} a parameter)"
    if kind in _TWO_STATES:
        eight_bit = "--optimizer adamw8bit (of bitsandbytes: state in 2 bytes a parameter)"
        return [eight_bit, sgd.format("values")]
    return [sgd.format("bytes")] if kind in _TWO_BYTES else []
