"""max_batch_size() of a live model: the number of the estimate, and a process left as it was."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import planner

pytestmark = pytest.mark.slow


def batch(batch_size: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(batch_size, 512), torch.randint(10, (batch_size,))


def test_a_live_model_is_answered_and_left_alone() -> None:
    model = nn.Sequential(nn.Linear(512, 4096), nn.ReLU(), nn.Linear(4096, 10))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    random = torch.get_rng_state()
    options = {"build_batch": batch, "optimizer": "sgd", "gpu_memory": "2GiB"}
    found = planner.max_batch_size(model, gpu="t4", **options)
    (card,) = planner.estimate(model, gpu="t4", **options).gpus
    assert found == card.suggested_batch_size
    assert found is not None
    assert card.max_batch_size is not None
    assert 1000 < found < card.max_batch_size
    assert torch.equal(torch.get_rng_state(), random)
    assert not torch.cuda.is_initialized()
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
