"""Batches of denoisers: latents, steps of time, and the states of the encoded text.

In: the class and config of a denoiser. Out: Batches. Convention: sizes are those of the published
pipelines of each class; an image gives latents of an eighth on each side.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from planner.config.published import TaskConfig
from planner.errors import WrongTargetError
from planner.worker.published.tokens import Batches

_SCALE = 8  # of the autoencoders of these pipelines
_UNET_TEXT = 77  # tokens of CLIP
_SD3_TEXT = 77 + 256  # CLIP's and T5's, as StableDiffusion3Pipeline joins them
_FLUX_TEXT = 512
_FLUX_IMAGE = (1024, 1024)


def latent_batch(
    name: str, made: Any, values: Mapping[str, Any], task: TaskConfig, dtype: torch.dtype
) -> Batches:
    """Returns the maker of batches of a denoiser.

    Raises:
        WrongTargetError: the inputs of this class are not known here.
    """
    if name == "UNet2DConditionModel":
        return _unet(values, task, dtype)
    if name == "SD3Transformer2DModel":
        return _sd3(values, task, dtype)
    if name == "FluxTransformer2DModel":
        return _flux(values, task, dtype)
    raise WrongTargetError(
        f"the inputs of {name} are not known here; known are UNet2DConditionModel, "
        "SD3Transformer2DModel and FluxTransformer2DModel. Write a model file with build_model() "
        "and build_batch()"
    )


def _latents_of(values: Mapping[str, Any], task: TaskConfig) -> tuple[int, int]:
    if task.image is not None:
        return task.image[0] // _SCALE, task.image[1] // _SCALE
    size = values.get("sample_size") or 64
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def _words(latents: tuple[int, int], text: int) -> tuple[str, ...]:
    height, width = latents[0] * _SCALE, latents[1] * _SCALE
    return (f"batch: latents of images of {height}x{width} pixels, and {text} states of text",)


def _unet(values: Mapping[str, Any], task: TaskConfig, dtype: torch.dtype) -> Batches:
    latents = _latents_of(values, task)
    channels, width = values.get("in_channels", 4), values.get("cross_attention_dim", 1280)
    pooled = None
    if values.get("addition_embed_type") == "text_time":
        ids = 6 * (values.get("addition_time_embed_dim") or 256)
        pooled = values["projection_class_embeddings_input_dim"] - ids

    def build_batch(batch_size: int, sequence_length: int = _UNET_TEXT) -> dict[str, Any]:
        batch: dict[str, Any] = {
            "sample": torch.zeros(batch_size, channels, *latents, dtype=dtype),
            "timestep": torch.ones(batch_size, dtype=torch.int64),
            "encoder_hidden_states": torch.zeros(batch_size, sequence_length, width, dtype=dtype),
        }
        if pooled is not None:
            batch["added_cond_kwargs"] = {
                "text_embeds": torch.zeros(batch_size, pooled, dtype=dtype),
                "time_ids": torch.zeros(batch_size, 6, dtype=dtype),
            }
        return batch

    return Batches(build=build_batch, assumptions=_words(latents, _UNET_TEXT))


def _sd3(values: Mapping[str, Any], task: TaskConfig, dtype: torch.dtype) -> Batches:
    latents = _latents_of(values, task)

    def build_batch(batch_size: int, sequence_length: int = _SD3_TEXT) -> dict[str, Any]:
        text = (batch_size, sequence_length, values.get("joint_attention_dim", 4096))
        pooled = (batch_size, values.get("pooled_projection_dim", 2048))
        channels = values.get("in_channels", 16)
        return {
            "hidden_states": torch.zeros(batch_size, channels, *latents, dtype=dtype),
            "encoder_hidden_states": torch.zeros(text, dtype=dtype),
            "pooled_projections": torch.zeros(pooled, dtype=dtype),
            "timestep": torch.ones(batch_size, dtype=torch.int64),
        }

    return Batches(build=build_batch, assumptions=_words(latents, _SD3_TEXT))


def _flux(values: Mapping[str, Any], task: TaskConfig, dtype: torch.dtype) -> Batches:
    height, width = task.image or _FLUX_IMAGE
    patches = (height // (2 * _SCALE)) * (width // (2 * _SCALE))

    def build_batch(batch_size: int, sequence_length: int = _FLUX_TEXT) -> dict[str, Any]:
        text = (batch_size, sequence_length, values.get("joint_attention_dim", 4096))
        pooled = (batch_size, values.get("pooled_projection_dim", 768))
        batch: dict[str, Any] = {
            "hidden_states": torch.zeros(
                batch_size, patches, values.get("in_channels", 64), dtype=dtype
            ),
            "encoder_hidden_states": torch.zeros(text, dtype=dtype),
            "pooled_projections": torch.zeros(pooled, dtype=dtype),
            "timestep": torch.ones(batch_size, dtype=dtype),
            "img_ids": torch.zeros(patches, 3, dtype=dtype),
            "txt_ids": torch.zeros(sequence_length, 3, dtype=dtype),
        }
        if values.get("guidance_embeds"):
            batch["guidance"] = torch.ones(batch_size, dtype=dtype)
        return batch

    return Batches(
        build=build_batch, assumptions=_words((height // _SCALE, width // _SCALE), _FLUX_TEXT)
    )
