"""An optimizer over the shards of DTensors: the shards are stepped, and nothing is copied."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn

from planner.worker.optimizers.shards import over_shards
from planner.worker.ranks.membership import begin


@pytest.fixture
def divided() -> Iterator[nn.Parameter]:
    """The second shard of 8 elements over 4 ranks."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import DTensor, Shard

    begin(1, 4, 8)
    mesh = init_device_mesh("cpu", (4,))
    yield nn.Parameter(DTensor.from_local(torch.tensor([1.0, 2.0]), mesh, [Shard(0)]))
    dist.destroy_process_group()


def with_gradient(parameter: Any, value: float) -> None:
    parameter.grad = torch.full_like(parameter, value)


def test_a_step_changes_the_shard_where_it_is(divided: Any) -> None:
    plain = nn.Parameter(torch.tensor([5.0]))
    given: list[nn.Parameter] = []

    def make(parameters: list[nn.Parameter]) -> torch.optim.SGD:
        given.extend(parameters)
        return torch.optim.SGD(parameters, lr=1.0)

    optimizer = over_shards(make, [divided, plain])
    shard = divided.detach().to_local()
    assert type(given[0].data) is torch.Tensor
    assert given[0].data_ptr() == shard.data_ptr()
    assert given[1] is plain
    with_gradient(divided, 0.5)
    with_gradient(plain, 2.0)
    optimizer.step()
    assert shard.tolist() == [0.5, 1.5]
    assert plain.tolist() == [3.0]
    assert given[0].grad is None, "a second name would keep the gradient alive"


def test_gradients_of_the_parameters_are_dropped_or_zeroed(divided: Any) -> None:
    optimizer = over_shards(lambda parts: torch.optim.SGD(parts, lr=1.0), [divided])
    with_gradient(divided, 0.5)
    optimizer.zero_grad(set_to_none=False)
    assert divided.grad.to_local().tolist() == [0.0, 0.0]
    optimizer.zero_grad()
    assert divided.grad is None


def test_a_parameter_without_a_gradient_is_left(divided: Any) -> None:
    optimizer = over_shards(lambda parts: torch.optim.SGD(parts, lr=1.0), [divided])
    optimizer.step()
    assert divided.detach().to_local().tolist() == [1.0, 2.0]
