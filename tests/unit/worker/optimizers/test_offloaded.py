"""An optimizer over copies on the host: what it keeps there, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from planner.config.step import Offload, OptimizerName, StepConfig
from planner.errors import UsageError
from planner.worker.drive.job import job_of
from planner.worker.optimizers.choice import Chosen, choose
from planner.worker.optimizers.offloaded import HostOptimizer
from planner.worker.target.source import ModelSource

WEIGHTS, BIASES = 4 * 8, 8
WHOLE_BYTES = 4 * (WEIGHTS + BIASES)


def network() -> nn.Module:
    return nn.Linear(4, 8)


def chosen(model: nn.Module, build_optimizer: Any = None, **config: Any) -> Chosen:
    source = ModelSource(build_model=nn.Identity, build_optimizer=build_optimizer)
    return choose(source, StepConfig(offload=(Offload.OPTIMIZER,), **config), model)


@pytest.mark.parametrize(
    ("optimizer", "state_bytes"),
    [
        (OptimizerName.SGD, 0),
        (OptimizerName.SGD_MOMENTUM, WHOLE_BYTES),
        (OptimizerName.ADAMW, 2 * WHOLE_BYTES + 2 * 4),  # and a step for each
    ],
)
def test_what_is_on_the_host(optimizer: OptimizerName, state_bytes: int) -> None:
    model = network()
    found = chosen(model, optimizer=optimizer)
    assert isinstance(found.optimizer, HostOptimizer)
    model(torch.ones(2, 4)).sum().backward()
    found.optimizer.step()
    counts = found.optimizer.counts(7)
    assert counts.weight_sizes_bytes == (4 * WEIGHTS, 4 * BIASES)
    assert counts.gradient_sizes_bytes == counts.weight_sizes_bytes
    assert (counts.state_bytes, counts.update_bytes) == (state_bytes, 7)
    assert "2 weights in host RAM" in found.assumptions[-1]


def test_gradients_of_the_card_are_dropped_or_zeroed() -> None:
    model = network()
    optimizer: Any = chosen(model).optimizer
    model(torch.ones(2, 4)).sum().backward()
    optimizer.zero_grad(set_to_none=False)
    assert all(one.grad is not None and not one.grad.any() for one in model.parameters())
    optimizer.zero_grad()
    assert all(one.grad is None for one in model.parameters())


def test_frozen_weights_and_those_without_a_gradient_keep_less() -> None:
    model = nn.ModuleList([network(), network(), network()])
    model[0].requires_grad_(False)
    optimizer: Any = chosen(model).optimizer
    model[1](torch.ones(2, 4)).sum().backward()
    optimizer.step()
    counts = optimizer.counts(0)
    assert sum(counts.weight_sizes_bytes) == 2 * WHOLE_BYTES
    assert sum(counts.gradient_sizes_bytes) == WHOLE_BYTES


def test_build_optimizer_gets_the_copies() -> None:
    found = chosen(network(), lambda parameters: torch.optim.RMSprop(parameters))
    assert found.name == "RMSprop"
    with pytest.raises(UsageError, match="takes the whole model"):
        chosen(network(), lambda parameters, model: torch.optim.SGD(model.parameters(), lr=1.0))


def test_an_optimizer_that_reads_its_weights_is_refused() -> None:
    model = network()
    optimizer: Any = chosen(model, optimizer=OptimizerName.ADAFACTOR).optimizer
    model(torch.ones(2, 4)).sum().backward()
    with pytest.raises(UsageError, match="Adafactor cannot be run there without the values"):
        optimizer.step()


def test_a_sparse_gradient_is_refused() -> None:
    model = nn.Embedding(4, 8, sparse=True)
    optimizer: Any = chosen(model, optimizer=OptimizerName.SGD).optimizer
    model(torch.tensor([1])).sum().backward()
    with pytest.raises(UsageError, match="a gradient is sparse"):
        optimizer.step()


@pytest.mark.parametrize("part", Offload)
def test_a_step_that_steps_itself_refuses(part: Offload) -> None:
    source = ModelSource(build_model=network, training_step=lambda model, batch, optimizers: None)
    with pytest.raises(UsageError, match="does the whole step itself: offload in it"):
        job_of(source, StepConfig(offload=(part,)), network(), torch.device("cpu"))
