"""Token ids, sizes of images, and the record of a maker of batches.

In: sizes. Out: tensors, Batches. Convention: tokens are all ids in turn, so that the experts of a
mixture get their shares.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from planner.config.published import Task, TaskConfig

BuildBatch = Callable[..., dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Batches:
    """A build_batch, and sentences on what is in its batches."""

    build: BuildBatch
    assumptions: tuple[str, ...]


def tokens(batch_size: int, length: int, vocabulary: int) -> torch.Tensor:
    """Returns token ids of samples without padding: each id of the vocabulary in turn."""
    ids = torch.arange(batch_size * length, dtype=torch.int64) % max(1, vocabulary - 1) + 1
    return ids.view(batch_size, length) % vocabulary


def image_size(config: Any, task: TaskConfig) -> tuple[int, int]:
    """Returns height and width of an image: those of the caller, else those of the config."""
    if task.image is not None:
        return task.image
    size = getattr(config, "image_size", None) or 224
    return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))


def decoder_prompt(config: Any, task: TaskConfig, ids: torch.Tensor) -> torch.Tensor:
    """Returns the decoder's input without labels: the start token to generate, else the tokens."""
    if task.task is not Task.GENERATE:
        return ids.clone()
    start = getattr(config, "decoder_start_token_id", None) or 0
    return torch.full_like(ids[:, :1], start)
