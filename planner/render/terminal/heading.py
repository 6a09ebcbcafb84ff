"""The words on top of a report: how the step is run, and the versions of the software.

In: StepConfig, the weights' dtypes, Versions. Out: text. Convention: defaults are left out; the
weights have their real dtypes, not the requested ones.
"""

from __future__ import annotations

from collections.abc import Sequence

from planner.config.step import CompileMode, Mode, Precision, StepConfig
from planner.config.weights import WeightDtype
from planner.results.estimate import Versions
from planner.results.values import ValuesResult
from planner.results.words import STEPS
from planner.units import format_bytes

_SHORT = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16", "float64": "fp64"}
_AUTOCAST = {Precision.AMP_FP16: "fp16", Precision.AMP_BF16: "bf16"}
_DTYPES_SHOWN = 3


def weight_words(config: StepConfig, weights: Sequence[WeightDtype]) -> str:
    """Returns the dtype of the weights, or the size of each dtype, and the dtype of autocast."""
    if not weights:
        return config.precision_name
    names = [_SHORT.get(one.dtype, one.dtype) for one in weights]
    if len(weights) > 1:
        sizes = [format_bytes(one.size_bytes) for one in weights]
        names = [f"{size} {name}" for size, name in zip(sizes, names, strict=True)]
    more = len(names) - _DTYPES_SHOWN
    shown = [*names[:_DTYPES_SHOWN], *([f"{more} more dtypes"] if more > 0 else [])]
    words = f"{' + '.join(shown)} weights"
    if config.precision in (None, Precision.AS_BUILT):
        words += " (as built)"
    if config.precision in _AUTOCAST:
        words += f", autocast {_AUTOCAST[config.precision]}"
    return words


def step_words(
    config: StepConfig, optimizer: str | None, weights: Sequence[WeightDtype]
) -> list[str]:
    """Returns how the step is run, without its batch; `optimizer` None: none is named."""
    words = []
    if config.sequence_length is not None:
        words.append(f"sequence {config.sequence_length}")
    words.append(weight_words(config, weights))
    if config.mode is Mode.TRAIN and optimizer is not None:
        words.append(f"optimizer {optimizer}")
    if config.channels_last:
        words.append("channels_last")
    if config.checkpoint_blocks is not None:
        words.append(f"activations checkpointed ({config.checkpoint_blocks})")
    elif config.checkpoint_activations:
        words.append("activations checkpointed")
    if config.chunked_loss is not None:
        words.append(f"loss in {config.chunked_loss} pieces")
    if config.compile is not None:
        words.append(_compiled(config.compile))
    if config.optimizer_in_backward:
        words.append("optimizer steps in backward")
    if config.offload:
        words.append(f"{' and '.join(one.value for one in config.offload)} offloaded to the host")
    return [*words, *after_backward(config.clip_grad_norm, config.ema)]


def _compiled(mode: CompileMode) -> str:
    if mode is CompileMode.OFF:
        return "not compiled"
    return "compiled" if mode is CompileMode.DEFAULT else f"compiled ({mode.value})"


def after_backward(clip_grad_norm: float | None, ema: float | None) -> list[str]:
    """Returns the work around the optimizer's step: clipping, EMA; often empty."""
    words = []
    if clip_grad_norm is not None:
        words.append(f"gradients clipped to norm {clip_grad_norm:g}")
    if ema is not None:
        words.append(f"EMA of the weights with decay {ema:g}")
    return words


def any_batch(config: StepConfig, weights: Sequence[WeightDtype]) -> str:
    """Returns one line on a step that is run at several batches."""
    step = STEPS[config.mode]
    if config.accumulate > 1:
        step += f" with {config.accumulate} batches accumulated"
    optimizer = None if config.optimizer is None else config.optimizer.value
    return ", ".join((step, *step_words(config, optimizer, weights)))


def values_line(values: ValuesResult) -> str:
    """Returns one line on the values that the step reads from the card."""
    return f"values read: {values.line}"


def software(versions: Versions) -> str:
    """Returns one line on the software."""
    words = [f"torch {versions.torch}", f"CUDA {versions.cuda}"]
    if versions.cudnn is not None:
        words.append(f"cuDNN {versions.cudnn}")
    words += [f"Python {versions.python}", f"planner {versions.planner}"]
    return ", ".join(words)
