"""The operators of a pipeline by stage, and steps of its loop that are not run."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from planner.errors import ModelError
from planner.wire.trace import OperatorRecord, Phase
from planner.worker.count.module_path import ModulePath
from planner.worker.count.observer import OperatorObserver
from planner.worker.count.pipeline_stages import stages_counted
from planner.worker.model.pipeline_model import PipelineModel, models_of, pipeline_step

RUN = 3


class Scheduler:
    def step(self, sample: Tensor) -> Tensor:
        return sample.mul(0.5)


class Pipeline:
    """An encoder, a denoiser in a loop, and a decoder that is called by a method of its own."""

    def __init__(self) -> None:
        self.encoder, self.denoiser = nn.Linear(4, 8), nn.Linear(8, 8)
        self.decoder = nn.Sequential(nn.Linear(8, 16))
        self.again = self.encoder  # a second name of the same model
        self.scheduler = Scheduler()

    def __call__(self, prompt: Tensor) -> Tensor:
        sample = self.encoder(prompt)
        for _ in range(RUN):
            sample = self.scheduler.step(self.denoiser(sample))
        return self.decoder[0](sample)


def counted(skipped: int) -> tuple[OperatorRecord, ...]:
    model = PipelineModel(Pipeline())
    model.iterations.skipped = skipped
    observer = OperatorObserver(ModulePath(model))
    observer.phase = Phase.FORWARD
    step = pipeline_step(lambda pipeline, batch: pipeline(batch))
    with observer.watching(), stages_counted(model, observer):
        step(model, torch.ones(2, 4))
    return observer.records(torch.device("cpu"))


def calls(records: tuple[OperatorRecord, ...], name: str) -> dict[str, int]:
    return {one.stage: one.calls for one in records if one.name == f"aten::{name}"}


@pytest.mark.parametrize("skipped", [0, 47])
def test_each_stage_has_its_calls(skipped: int) -> None:
    found = counted(skipped)
    denoised = RUN + skipped
    assert calls(found, "addmm") == {"encoder": 1, "denoiser": denoised, "decoder": 1}
    assert calls(found, "mul") == {"denoiser": denoised}


def test_a_model_is_a_child_once() -> None:
    assert list(models_of(Pipeline())) == ["encoder", "denoiser", "decoder"]
    assert list(models_of({"a": nn.Identity(), "b": 3})) == ["a"]


def test_a_pipeline_without_a_model_is_an_error() -> None:
    with pytest.raises(ModelError, match="build_pipeline returned a dict without a model"):
        models_of({"a": 1})


def test_the_step_runs_without_gradients_and_outside_of_inference_mode() -> None:
    def call(pipeline: Any, batch: Tensor) -> Tensor:
        assert not torch.is_inference_mode_enabled()
        assert not torch.is_grad_enabled()
        return batch

    with torch.inference_mode():
        pipeline_step(call)(PipelineModel(Pipeline()), torch.ones(1))


def test_the_scheduler_is_as_before_after_a_step() -> None:
    model = PipelineModel(Pipeline())
    pipeline_step(lambda pipeline, batch: pipeline(batch))(model, torch.ones(2, 4))
    assert "step" not in vars(model.pipeline.scheduler)
