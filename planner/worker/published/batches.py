"""Batches of a transformers model, by its kind: tokens, images, sounds.

In: Kind, config, TaskConfig. Out: a build_batch as a model file has it. Convention: samples are
full, so there is no attention mask: transformers drops one that is all ones, after it has read it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from planner.config.published import Task, TaskConfig
from planner.config.text_lengths import OF_DECODERS, OF_ENCODERS, text_length
from planner.worker.published.kinds import Kind
from planner.worker.published.media_batches import (
    contrastive,
    image_text,
    speech,
    speech_to_text,
)
from planner.worker.published.positions import within_positions
from planner.worker.published.tokens import Batches, decoder_prompt, image_size, tokens

_NO_MASK = "no mask (transformers drops a mask of ones; padding would keep it, and need more)"


def batches(kind: Kind, config: Any, task: TaskConfig, dtype: torch.dtype) -> Batches:
    """Returns the maker of batches for the task."""
    labelled = task.task.trains
    if kind in (Kind.CAUSAL, Kind.MASKED, Kind.SEQ2SEQ):
        made = (
            _pairs(config, task, labelled=labelled)
            if kind is Kind.SEQ2SEQ
            else _text(kind, config, task, labelled=labelled)
        )
        return replace(made, build=within_positions(made.build, config, task))
    if kind is Kind.CONTRASTIVE:
        return contrastive(config, task, dtype, labelled=labelled)
    if kind is Kind.IMAGE_TEXT:
        return image_text(config, task, dtype, labelled=labelled)
    if kind is Kind.SPEECH:
        return speech(config, labelled=labelled, dtype=dtype)
    if kind is Kind.SPEECH_SEQ2SEQ:
        return speech_to_text(config, task, labelled=labelled, dtype=dtype)
    return _images(config, task, dtype, labelled=labelled)


def _text(kind: Kind, config: Any, task: TaskConfig, *, labelled: bool) -> Batches:
    length = text_length(_values(config), OF_DECODERS if kind is Kind.CAUSAL else OF_ENCODERS)
    of_words = kind is Kind.CAUSAL or task.task is Task.PRETRAIN

    def build_batch(batch_size: int, sequence_length: int = length) -> dict[str, Any]:
        ids = tokens(batch_size, sequence_length, config.vocab_size)
        batch = {"input_ids": ids}
        if labelled:
            batch["labels"] = ids.clone() if of_words else _classes(batch_size)
        return batch

    words = f"batch: samples without padding, {length} tokens each or as --seq says, and {_NO_MASK}"
    if labelled:
        words += "; the labels are the tokens" if of_words else "; one class for each sample"
    return Batches(build=build_batch, assumptions=(words,))


def _pairs(config: Any, task: TaskConfig, *, labelled: bool) -> Batches:
    length = text_length(_values(config), OF_ENCODERS)

    def build_batch(batch_size: int, sequence_length: int = length) -> dict[str, Any]:
        ids = tokens(batch_size, sequence_length, config.vocab_size)
        batch = {"input_ids": ids}
        if labelled:
            batch["labels"] = ids.clone()
        else:
            batch["decoder_input_ids"] = decoder_prompt(config, task, ids)
        return batch

    return Batches(
        build=build_batch,
        assumptions=(
            f"batch: {length} tokens without --seq, as many for the encoder as for the decoder, "
            f"without padding, and {_NO_MASK}",
        ),
    )


def _images(config: Any, task: TaskConfig, dtype: torch.dtype, *, labelled: bool) -> Batches:
    size = image_size(config, task)
    channels = getattr(config, "num_channels", 3)

    def build_batch(batch_size: int) -> dict[str, Any]:
        batch = {"pixel_values": torch.zeros(batch_size, channels, *size, dtype=dtype)}
        if labelled:
            batch["labels"] = _classes(batch_size)
        return batch

    return Batches(build=build_batch, assumptions=(f"batch: images of {size[0]}x{size[1]} pixels",))


def _values(config: Any) -> Callable[[str], object]:
    return lambda key: getattr(config, key, None)


def _classes(batch_size: int) -> torch.Tensor:
    return torch.zeros(batch_size, dtype=torch.int64)
