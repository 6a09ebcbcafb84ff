"""What a pipeline of diffusers does to save memory: its decoder, its attention, offloading.

In: a pipeline on its device, TaskConfig, StepConfig. Out: the same pipeline, with the methods of
diffusers called on it as a user calls them.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from planner.config.published import Attention, Decoding, TaskConfig
from planner.config.step import Offload, StepConfig
from planner.errors import UsageError
from planner.worker.model.host_weights import moved_without_bytes
from planner.worker.model.pipeline_model import PipelineModel

_DECODERS = ("vae", "vqvae", "movq", "vqgan")


def save_memory(pipeline: Any, task: TaskConfig) -> None:
    """Switches on what the task asks for.

    Raises:
        UsageError: a component has no such method.
    """
    for saving in task.vae:
        _decoder(pipeline, saving)
    if task.attention is Attention.SLICED:
        if not hasattr(pipeline, "enable_attention_slicing"):
            raise UsageError(
                f"{type(pipeline).__name__} has no enable_attention_slicing: leave --attention out"
            )
        pipeline.enable_attention_slicing()
    elif task.attention is Attention.EAGER:
        _plain_attention(pipeline)


def saving_words(task: TaskConfig) -> tuple[str, ...]:
    """Returns sentences on what `save_memory` switches on."""
    words = [f"decoder: enable_{saving.value}() of diffusers" for saving in task.vae]
    if task.attention is Attention.SLICED:
        words.append("attention: enable_attention_slicing() of diffusers, half of the heads a time")
    elif task.attention is Attention.EAGER:
        words.append("attention: AttnProcessor of diffusers, with the scores of all pairs")
    return tuple(words)


def offload(pipeline: Any, config: StepConfig) -> tuple[str, ...]:
    """Switches offloading on as the step asks for it; returns a sentence on it.

    Raises:
        UsageError: the pipeline cannot do it.
    """
    chosen = config.pipeline_offload
    if chosen is None:
        return ()
    method = f"enable_{chosen.value}_cpu_offload"
    try:
        getattr(pipeline, method)(device="cuda")
    except (AttributeError, ValueError, NotImplementedError, ImportError) as error:
        raise UsageError(
            f"{type(pipeline).__name__} cannot do --offload {chosen.value}: {error}"
        ) from None
    what = "each component is" if chosen is Offload.MODEL else "each layer is"
    return (f"offload: {method}() of diffusers: {what} on the card while it runs",)


def offload_model(model: nn.Module, config: StepConfig) -> tuple[str, ...]:
    """Switches offloading on for the pipeline of `model`; returns a sentence on it.

    Raises:
        UsageError: the pipeline cannot do it.
    """
    assert isinstance(model, PipelineModel), "only a pipeline is offloaded so"
    with moved_without_bytes(model.copies):
        return offload(model.pipeline, config)


def _decoder(pipeline: Any, saving: Decoding) -> None:
    method = f"enable_{saving.value}"
    for role in _DECODERS:
        found = getattr(pipeline, role, None)
        if found is not None and hasattr(found, method):
            getattr(found, method)()
            return
    raise UsageError(
        f"{type(pipeline).__name__} has no decoder with {method}(): leave --vae {saving.value} out"
    )


def _plain_attention(pipeline: Any) -> None:
    """Gives denoiser and decoder the processors without scaled_dot_product_attention.

    Raises:
        UsageError: the denoiser is no UNet, and its attention has no such form in diffusers.
    """
    from diffusers.models.attention_processor import AttnProcessor

    unet = getattr(pipeline, "unet", None)
    if unet is None or not hasattr(unet, "set_attn_processor"):
        raise UsageError(
            f"--attention eager: the denoiser of {type(pipeline).__name__} has attention of its "
            "own, which has no plain form in diffusers: leave the option out"
        )
    models: tuple[Any, ...] = (unet, getattr(pipeline, "vae", None))
    for model in models:
        if hasattr(model, "set_attn_processor"):
            model.set_attn_processor(AttnProcessor())
