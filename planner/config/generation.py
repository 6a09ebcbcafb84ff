"""Generation as data: how it is done, which of its tokens a run writes, the size of an image.

In: nothing. Out: frozen records. Convention: tokens are counted from 1, the first one after the
prompt.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

DEFAULT_NEW_TOKENS = 128


class JobMode(str, Enum):
    """The words for the mode of a job: those of Mode, and what is a task of published models."""

    TRAIN = "train"
    """A training step."""
    INFER = "infer"
    """A forward pass alone."""
    GENERATE = "generate"
    """A prompt, then tokens or an image: --task generate of a published model."""


class KvCache(str, Enum):
    """The cache of keys and values of a generation; the words are those of transformers."""

    DYNAMIC = "dynamic"
    """It grows with each token: DynamicCache."""
    STATIC = "static"
    """It has room for all tokens from the start: StaticCache."""


class SearchedSize(str, Enum):
    """A size of what a pipeline makes, whose largest value is searched."""

    IMAGE = "image"
    """Height and width, at the ratio of the requested ones."""
    FRAMES = "frames"
    """Frames of a clip."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSize:
    """A size of the image or clip of a pipeline, in the place of that of its task."""

    height: int | None = None
    """Pixels; None: as the task has it."""
    width: int | None = None
    """Pixels; None: as the task has it."""
    frames: int | None = None
    """Frames of the clip; None: as the task has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenWindow:
    """A part of a generation that is run by itself.

    The run takes a prompt that is longer by `skipped` tokens, and writes `tokens` of those that
    come next: its cache is as long as that of the whole generation at these tokens.
    """

    skipped: int
    """Tokens of the generation before its own, which are a part of the prompt."""
    tokens: int
    """Tokens that it writes."""
