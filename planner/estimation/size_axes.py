"""The sizes of an image or clip as axes of a search: the largest image, the most frames.

In: the request, SearchedSize. Out: axes. Convention: an image keeps the ratio of the requested one;
its shorter side is a whole number of units, its longer side the nearest one.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from planner.config.generation import ImageSize, SearchedSize
from planner.config.parse import choice
from planner.config.published import Library, PublishedModel, Task
from planner.config.step import StepConfig
from planner.config.target import Target
from planner.errors import UsageError
from planner.estimation.request import EstimateRequest
from planner.published.latent_frames import frames_of_a_latent

_LARGEST_UNIT = 64  # pixels; one latent after all halvings of a UNet of Stable Diffusion
_LEAST_UNIT = 8  # pixels of a latent in most decoders


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageAxis:
    """The size of an image whose requested size is `height` x `width`; `unit` divides both."""

    height: int
    width: int
    unit: int

    @property
    def label(self) -> str:
        """Returns the axis in words."""
        return "image"

    @property
    def degree(self) -> int:
        """Returns that of the pixels in a side."""
        return 2

    def size_of(self, config: StepConfig) -> int:
        """Returns the shorter side of the requested image."""
        return min(self.height, self.width)

    def at(self, config: StepConfig, value: int) -> StepConfig:
        """Returns the step with an image whose shorter side has `value` units."""
        height, width = self.image(value)
        return replace(config, size=ImageSize(height=height, width=width))

    def image(self, value: int) -> tuple[int, int]:
        """Returns height and width of an image whose shorter side has `value` units."""
        short, long = sorted((self.height, self.width))
        shorter = value * self.unit
        longer = (2 * value * long + short) // (2 * short) * self.unit
        return (shorter, longer) if self.height <= self.width else (longer, shorter)

    def words(self, value: int) -> str:
        """Returns height x width."""
        return "x".join(map(str, self.image(value)))


@dataclass(frozen=True, slots=True, kw_only=True)
class FramesAxis:
    """The frames of a clip of which `frames` are requested: 1, and `unit` more each time."""

    frames: int
    unit: int

    @property
    def label(self) -> str:
        """Returns the axis in words."""
        return "number of frames"

    @property
    def degree(self) -> int:
        """Returns that of the tensors of a clip."""
        return 1

    def size_of(self, config: StepConfig) -> int:
        """Returns the requested frames, such that the first frame is one unit."""
        return self.frames - 1 + self.unit

    def at(self, config: StepConfig, value: int) -> StepConfig:
        """Returns the step with the clip of `value` latent frames."""
        return replace(config, size=ImageSize(frames=self.clip(value)))

    def clip(self, value: int) -> int:
        """Returns the frames of `value` latent frames; none of 0."""
        return (value - 1) * self.unit + 1 if value else 0

    def words(self, value: int) -> str:
        """Returns the frames."""
        return str(self.clip(value))


SizeAxis = ImageAxis | FramesAxis


def size_axes(asked: EstimateRequest, words: str | Sequence[str]) -> tuple[SizeAxis, ...]:
    """Returns the axes of the sizes in `words`, in the order of SearchedSize.

    Raises:
        UsageError: there is no such size, the target makes no images, or the size to begin with was
            not given or is none that the search can step from.
    """
    given = (words,) if isinstance(words, str) else words
    wanted = {choice(SearchedSize, one, "largest") for one in given}
    if not wanted:
        return ()
    model = _pipeline(asked.target)
    if asked.config.parallel is not None:
        raise UsageError(
            "the largest image or clip was asked for (--largest), and several GPUs: it is searched "
            "on one, so leave --num-gpus and --parallel out"
        )
    axes: list[SizeAxis] = [_image_axis(model)] if SearchedSize.IMAGE in wanted else []
    return (*axes, _frames_axis(model)) if SearchedSize.FRAMES in wanted else tuple(axes)


def _pipeline(target: Any) -> PublishedModel:
    model = target.published if isinstance(target, Target) else None
    is_pipeline = model is not None and model.library is Library.DIFFUSERS
    if model is None or not is_pipeline or model.task.task is not Task.GENERATE:
        raise UsageError(
            "the largest image or clip was asked for (--largest), and the target makes none: it is "
            "for a pipeline, diffusers:NAME with --task generate"
        )
    return model


def _image_axis(model: PublishedModel) -> ImageAxis:
    if model.task.image is None:
        raise UsageError(
            "--largest image was given, and no size to begin with: add one of the ratio that the "
            "images are to have, like --image 512x512"
        )
    height, width = model.task.image
    unit = _LARGEST_UNIT
    while height % unit or width % unit:
        unit //= 2
    if unit < _LEAST_UNIT:
        raise UsageError(
            f"--largest image was given, and --image {height}x{width}, whose sides are no "
            f"multiples of {_LEAST_UNIT}: give sides that are, better of {_LARGEST_UNIT}"
        )
    return ImageAxis(height=height, width=width, unit=unit)


def _frames_axis(model: PublishedModel) -> FramesAxis:
    unit = frames_of_a_latent(json.loads(model.config))
    if unit is None:
        raise UsageError(
            f"--largest frames was given, and the config of the decoder of {model.name} does not "
            "say how many frames one latent stands for: leave it out"
        )
    frames = model.task.frames
    if frames is None:
        raise UsageError(
            "--largest frames was given, and no frames to begin with: add some, like --frames "
            f"{4 * unit + 1}"
        )
    if (frames - 1) % unit:
        near = (frames - 1) // unit * unit + 1
        raise UsageError(
            f"--largest frames was given, and --frames {frames}: a clip of {model.name} has "
            f"{unit}k + 1 frames, so give {near} or {near + unit}"
        )
    return FramesAxis(frames=frames, unit=unit)
