"""Optimizers of one parameter each that step in backward: the same training, fewer gradients."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from planner.config.step import OptimizerName, StepConfig
from planner.errors import ModelError, UsageError
from planner.wire.trace import Phase
from planner.worker.drive.gradients import missing_gradients
from planner.worker.drive.job import job_of
from planner.worker.drive.measure import measure
from planner.worker.optimizers.choice import Chosen, choose
from planner.worker.optimizers.in_backward import stepping_in_backward
from planner.worker.record.watch import Watch
from planner.worker.target.source import ModelSource

CPU = torch.device("cpu")


class Phases(Watch):
    def __init__(self) -> None:
        self.seen: list[Phase] = []

    def enter(self, phase: Phase, inputs: Any = None) -> None:
        self.seen.append(phase)


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))


def chosen(model: nn.Module, build_optimizer: Any = None, **config: Any) -> Chosen:
    source = ModelSource(build_model=nn.Identity, build_optimizer=build_optimizer)
    return choose(source, StepConfig(optimizer_in_backward=True, **config), model)


def test_the_same_weights_come_out() -> None:
    apart, whole = network(), network()
    found = chosen(apart, optimizer=OptimizerName.SGD_MOMENTUM)
    usual = torch.optim.SGD(whole.parameters(), lr=0.01, momentum=0.9)
    stepped: set[int] = set()
    watch = Phases()
    with stepping_in_backward(found.optimizer, watch, stepped):
        for number in range(3):
            batch = torch.full((2, 4), float(number))
            apart(batch).square().sum().backward()
            assert all(one.grad is None for one in apart.parameters())
            usual.zero_grad()
            whole(batch).square().sum().backward()
            usual.step()
    for mine, theirs in zip(apart.parameters(), whole.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    assert stepped == {id(one) for one in apart.parameters()}
    assert watch.seen == [Phase.OPTIMIZER_STEP, Phase.BACKWARD] * 4 * 3
    apart(torch.ones(2, 4)).sum().backward()  # the hooks are gone
    assert all(one.grad is not None for one in apart.parameters())


def test_frozen_parameters_have_no_optimizer() -> None:
    model = network()
    model[0].requires_grad_(False)
    found = chosen(model)
    assert len(found.optimizer) == 2  # type: ignore[arg-type]  # a tuple
    assert found.name == "AdamW"
    assert found.assumptions[-1].startswith("optimizer in backward: each of 2 parameters")


def test_build_optimizer_is_called_for_each() -> None:
    model = network()
    found = chosen(model, lambda parameters: torch.optim.RMSprop(parameters))
    assert [len(one.param_groups[0]["params"]) for one in found.optimizer or ()] == [1] * 4
    assert found.name == "RMSprop"
    with pytest.raises(UsageError, match="takes the whole model"):
        chosen(model, lambda parameters, model: torch.optim.SGD(model.parameters(), lr=1.0))
    with pytest.raises(ModelError, match="without step"):
        chosen(model, lambda parameters: None)


def test_a_step_that_steps_itself_refuses() -> None:
    source = ModelSource(build_model=network, training_step=lambda model, batch, optimizers: None)
    config = StepConfig(optimizer_in_backward=True)
    with pytest.raises(UsageError, match="steps it itself"):
        job_of(source, config, network(), CPU)


class Unused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.used, self.unused = nn.Linear(4, 3), nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> Any:
        return self.used(x)


def test_a_parameter_without_a_gradient_is_reported() -> None:
    source = ModelSource(build_model=Unused, build_batch=lambda size: torch.ones(size, 4))
    trace = measure(source, StepConfig(optimizer_in_backward=True), CPU)
    assert trace.failure is None
    assert len(trace.warnings) == 1
    assert "50 % of the trainable parameters" in trace.warnings[0]
    assert "unused.weight" in trace.warnings[0]
    model = network()
    assert missing_gradients(model, {id(one) for one in model.parameters()}) == ()
