"""Large weights of the host stay as they were allocated; all others are drawn."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import init

from planner.worker.script import initialising

LARGE = initialising.LEAST_ELEMENTS


@pytest.fixture(autouse=True)
def leaving(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("normal_", "uniform_"):
        monkeypatch.setattr(torch.Tensor, name, getattr(torch.Tensor, name))
    monkeypatch.setattr(init, "_no_grad_trunc_normal_", init._no_grad_trunc_normal_)
    initialising.leave_large_weights()


def weights(elements: int) -> nn.Parameter:
    return nn.Parameter(torch.full((2, elements // 2), 7.0))


@pytest.mark.parametrize(
    "draw", [init.normal_, init.uniform_, init.trunc_normal_, init.xavier_uniform_]
)
def test_a_large_parameter_keeps_its_memory(draw: object) -> None:
    assert callable(draw)
    large, small = weights(LARGE), weights(LARGE - 2)
    assert draw(large) is large
    draw(small)
    assert (large == 7.0).all()
    assert not (small == 7.0).any()


def test_a_tensor_that_is_no_parameter_is_drawn() -> None:
    noise = torch.full((LARGE,), 7.0).normal_()
    assert not (noise == 7.0).all()


def test_a_layer_is_built_without_draws() -> None:
    layer = nn.Linear(1024, 1024)
    assert layer.weight.shape == (1024, 1024)
    assert layer.weight.requires_grad
