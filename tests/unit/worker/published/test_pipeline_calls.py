"""The call of a pipeline: the size of the image or clip is that of the run, else of the task."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from planner.config.generation import ImageSize
from planner.config.published import Task, TaskConfig
from planner.config.step import Mode, StepConfig
from planner.worker.model.construct import construct
from planner.worker.model.pipeline_model import PipelineModel
from planner.worker.published.pipelines.calls import call_arguments, prompts, sized
from planner.worker.target.source import ModelSource

TASK = TaskConfig(task=Task.GENERATE, image=(64, 96), frames=17)


class Clips:
    """A pipeline that makes clips."""

    def __init__(self) -> None:
        self.denoiser = nn.Linear(2, 2)

    def __call__(
        self, prompt: Any, height: int = 8, width: int = 8, num_frames: int = 1,
        num_inference_steps: int = 4,
    ) -> None:  # fmt: skip
        """Takes what a call names."""


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (None, (64, 96, 17)),
        (ImageSize(height=128, width=192), (128, 192, 17)),
        (ImageSize(frames=21), (64, 96, 21)),
        (ImageSize(height=128, width=192, frames=21), (128, 192, 21)),
    ],
    ids=str,
)
def test_a_run_may_have_a_size_of_its_own(
    size: ImageSize | None, expected: tuple[int, int, int]
) -> None:
    given = call_arguments(Clips, sized(TASK, size), prompts(1), 4)
    assert (given["height"], given["width"], given["num_frames"]) == expected


@pytest.mark.parametrize("size", [None, ImageSize(height=128, width=128)], ids=str)
def test_the_model_of_a_run_has_its_size(size: ImageSize | None) -> None:
    source = ModelSource(build_model=lambda: PipelineModel(Clips()), label="clips")
    config = StepConfig(batch_size=1, mode=Mode.INFER, size=size)
    built = construct(source, config, torch.device("cpu"))
    assert isinstance(built.model, PipelineModel)
    assert built.model.size == size
