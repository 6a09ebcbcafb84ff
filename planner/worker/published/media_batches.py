"""Batches with images or sound for transformers models.

In: Kind, config, TaskConfig. Out: Batches. Convention: shapes as the processor of the model gives
them; float inputs have the dtype of the weights, and no values.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch

from planner.config.published import TaskConfig
from planner.errors import WrongTargetError
from planner.worker.published.tokens import Batches, decoder_prompt, image_size, tokens

_AUDIO_SAMPLES = 160_000  # 10 s at 16 kHz
_TEXT_TOKENS = 512
_LABELS = 128


def contrastive(config: Any, task: TaskConfig, dtype: torch.dtype, *, labelled: bool) -> Batches:
    """Returns pairs of an image and a text, for models like CLIP."""
    height, width = image_size(config.vision_config, task)
    length = getattr(config.text_config, "max_position_embeddings", 77)
    channels = getattr(config.vision_config, "num_channels", 3)

    def build_batch(batch_size: int, sequence_length: int = length) -> dict[str, Any]:
        batch: dict[str, Any] = {
            "input_ids": tokens(batch_size, sequence_length, config.text_config.vocab_size),
            "pixel_values": torch.zeros(batch_size, channels, height, width, dtype=dtype),
        }
        if labelled:
            batch["return_loss"] = True
        return batch

    words = f"batch: pairs of an image of {height}x{width} pixels and a text of {length} tokens"
    return Batches(build=build_batch, assumptions=(words,))


def image_text(config: Any, task: TaskConfig, dtype: torch.dtype, *, labelled: bool) -> Batches:
    """Returns texts that begin with one image.

    Raises:
        WrongTargetError: the shapes of this type of model are not known here.
    """
    image_token = int(getattr(config, "image_token_id", None) or config.image_token_index)
    images = _images_of(config, task, dtype)
    length = max(_TEXT_TOKENS, 2 * images.tokens)
    vocabulary = min(config.text_config.vocab_size, image_token)

    def build_batch(batch_size: int, sequence_length: int = length) -> dict[str, Any]:
        ids = tokens(batch_size, sequence_length, vocabulary)
        ids[:, : images.tokens] = image_token
        is_image: torch.Tensor = ids.eq(image_token)
        batch: dict[str, Any] = {"input_ids": ids, **images.inputs(batch_size)}
        if config.model_type == "gemma3":
            batch["token_type_ids"] = is_image.long()
        if config.model_type.startswith(("qwen", "gemma4")):
            batch["mm_token_type_ids"] = is_image.int()
        if labelled:
            batch["labels"] = ids.clone()
        return batch

    words = (
        f"batch: one image of {images.words} ({images.tokens} tokens) and text, {length} tokens "
        "together without --seq, without padding"
    )
    return Batches(build=build_batch, assumptions=(words,))


class _Images:
    """The image inputs of one type of model: tokens for each image, and the tensors."""

    def __init__(self, tokens_of_image: int, words: str) -> None:
        self.tokens = tokens_of_image
        self.words = words

    def inputs(self, batch_size: int) -> Mapping[str, torch.Tensor]:
        """Returns the tensors of the images."""
        raise NotImplementedError


class _Squares(_Images):
    """Images as pixels: llava, gemma3 and their kin."""

    def __init__(self, size: tuple[int, int], tokens_of_image: int, dtype: torch.dtype) -> None:
        super().__init__(tokens_of_image, f"{size[0]}x{size[1]} pixels")
        self._size, self._dtype = size, dtype

    def inputs(self, batch_size: int) -> Mapping[str, torch.Tensor]:
        return {"pixel_values": torch.zeros(batch_size, 3, *self._size, dtype=self._dtype)}


class _Patches(_Images):
    """Images as rows of patches: qwen2-vl and its kin."""

    def __init__(self, vision: Any, size: tuple[int, int], dtype: torch.dtype) -> None:
        merge = vision.spatial_merge_size
        unit = vision.patch_size * merge
        rows, columns = (max(1, round(one / unit)) * merge for one in size)
        super().__init__(
            rows * columns // merge**2, f"{rows * unit // merge}x{columns * unit // merge} pixels"
        )
        channels = getattr(vision, "in_channels", None) or getattr(vision, "in_chans", 3)
        self._grid = (1, rows, columns)
        self._width = channels * vision.temporal_patch_size * vision.patch_size**2
        self._dtype = dtype

    def inputs(self, batch_size: int) -> Mapping[str, torch.Tensor]:
        patches = batch_size * self._grid[1] * self._grid[2]
        return {
            "pixel_values": torch.zeros(patches, self._width, dtype=self._dtype),
            "image_grid_thw": torch.tensor([self._grid] * batch_size),
        }


class _PaddedPatches(_Images):
    """Images as rows of patches, padded to a fixed number of them: gemma4.

    The image keeps its proportions and takes as many patches as it can, whole pooling squares only
    (get_aspect_ratio_preserving_size in image_processing_gemma4.py of transformers 5.24).
    """

    def __init__(self, vision: Any, size: tuple[int, int], dtype: torch.dtype) -> None:
        side = vision.pooling_kernel_size  # patches on the side of what becomes one token
        most = vision.default_output_length
        scale = math.sqrt(most / (size[0] * size[1]))
        rows, columns = (max(1, int(one * scale)) for one in size)
        rows, columns = min(rows, most // columns), min(columns, most)
        unit = side * vision.patch_size
        super().__init__(rows * columns, f"{rows * unit}x{columns * unit} pixels")
        self._most = most * side**2
        self._rows, self._columns = rows * side, columns * side
        self._width = 3 * vision.patch_size**2
        self._dtype = dtype

    def inputs(self, batch_size: int) -> Mapping[str, torch.Tensor]:
        places = torch.full((self._most, 2), -1)  # of padding
        real = torch.cartesian_prod(torch.arange(self._rows), torch.arange(self._columns))
        places[: len(real)] = real.flip(1)  # column, row
        return {
            "pixel_values": torch.zeros(batch_size, self._most, self._width, dtype=self._dtype),
            "image_position_ids": places.expand(batch_size, -1, -1).contiguous(),
        }


def _images_of(config: Any, task: TaskConfig, dtype: torch.dtype) -> _Images:
    vision = config.vision_config
    if hasattr(vision, "spatial_merge_size") and hasattr(vision, "temporal_patch_size"):
        return _Patches(vision, task.image or (448, 448), dtype)
    if hasattr(vision, "pooling_kernel_size") and hasattr(vision, "default_output_length"):
        return _PaddedPatches(vision, task.image or (768, 768), dtype)
    size = image_size(vision, task)
    if hasattr(config, "mm_tokens_per_image"):
        return _Squares(size, config.mm_tokens_per_image, dtype)
    if config.model_type == "llava":
        per_side = [one // vision.patch_size for one in size]
        return _Squares(size, per_side[0] * per_side[1], dtype)
    raise WrongTargetError(
        f"the shapes of images of {config.model_type} are not known here; write a model file with "
        "build_model() and a build_batch() as its processor gives it"
    )


def speech(config: Any, *, labelled: bool, dtype: torch.dtype) -> Batches:
    """Returns sounds of 10 seconds, for models like wav2vec2."""

    def build_batch(batch_size: int, sequence_length: int = _AUDIO_SAMPLES) -> dict[str, Any]:
        batch = {"input_values": torch.zeros(batch_size, sequence_length, dtype=dtype)}
        if labelled:
            batch["labels"] = tokens(batch_size, 32, config.vocab_size)
        return batch

    words = "batch: 160000 values of sound (10 s at 16 kHz) without --seq; 32 labels for each"
    return Batches(build=build_batch, assumptions=(words,))


def speech_to_text(config: Any, task: TaskConfig, *, labelled: bool, dtype: torch.dtype) -> Batches:
    """Returns spectra of the length that the model takes, for models like whisper."""
    frames = 2 * getattr(config, "max_source_positions", 1500)

    def build_batch(batch_size: int, sequence_length: int = _LABELS) -> dict[str, Any]:
        ids = tokens(batch_size, sequence_length, config.vocab_size)
        sounds = torch.zeros(batch_size, config.num_mel_bins, frames, dtype=dtype)
        if labelled:
            return {"input_features": sounds, "labels": ids}
        return {
            "input_features": sounds,
            "decoder_input_ids": decoder_prompt(config, task, ids),
        }

    words = f"batch: spectra of {config.num_mel_bins}x{frames}, {_LABELS} tokens without --seq"
    return Batches(build=build_batch, assumptions=(words,))
