"""A model built before the runs: taken once, without weights, and only where models are alike."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from planner.config.step import BuildOn, StepConfig
from planner.worker.model.construct import construct
from planner.worker.published.ahead import build_ahead
from planner.worker.target.source import ModelSource

CPU = torch.device("cpu")


class Builder:
    """Counts its models."""

    def __init__(self, trouble: Exception | None = None) -> None:
        self.calls = 0
        self.trouble = trouble

    def __call__(self) -> nn.Module:
        self.calls += 1
        if self.trouble is not None:
            raise self.trouble
        return nn.Linear(3, 4)


def test_the_first_construct_takes_the_model_and_the_next_builds() -> None:
    builder = Builder()
    source = build_ahead(ModelSource(build_model=builder, builds_alike=True))
    assert builder.calls == 1
    assert source.ahead[0].weight.is_meta
    built = construct(source, StepConfig(build_on=BuildOn.META), CPU)
    assert builder.calls == 1
    assert built.model.weight.device == CPU
    construct(source, StepConfig(build_on=BuildOn.META), CPU)
    assert builder.calls == 2


def test_weights_that_were_asked_for_on_the_host_are_built_there() -> None:
    builder = Builder()
    source = build_ahead(ModelSource(build_model=builder, builds_alike=True))
    assert construct(source, StepConfig(build_on=BuildOn.CPU), CPU).build_on is BuildOn.CPU
    assert builder.calls == 2


def test_a_model_of_the_user_is_not_built_ahead() -> None:
    builder = Builder()
    assert not build_ahead(ModelSource(build_model=builder)).ahead
    assert builder.calls == 0


def test_an_error_is_left_to_the_run() -> None:
    source = build_ahead(ModelSource(build_model=Builder(ValueError("no")), builds_alike=True))
    assert not source.ahead
    with pytest.raises(ValueError, match="no"):
        construct(source, StepConfig(build_on=BuildOn.CPU), CPU)
