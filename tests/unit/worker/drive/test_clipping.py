"""Gradients are clipped to the norm asked for, of their true size."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from planner.worker.drive.clipping import clip_gradients


def with_gradients(*values: float) -> nn.Module:
    """Parameters of one element whose gradients are `values`, and one without."""
    model = nn.Module()
    for number, value in enumerate(values):
        weight = nn.Parameter(torch.zeros(1))
        weight.grad = torch.tensor([value])
        model.register_parameter(f"weight{number}", weight)
    model.register_parameter("frozen", nn.Parameter(torch.zeros(1), requires_grad=False))
    return model


def gradients(model: nn.Module) -> list[float]:
    return [float(one.grad) for one in model.parameters() if one.grad is not None]


@pytest.mark.parametrize(
    ("max_norm", "expected"),
    [(1.0, [0.6, 0.8]), (2.5, [1.5, 2.0]), (10.0, [3.0, 4.0]), (None, [3.0, 4.0])],
)
def test_the_norm_of_all_gradients(max_norm: float | None, expected: list[float]) -> None:
    model = with_gradients(3.0, 4.0)  # of norm 5
    clip_gradients(model, max_norm, optimizers=[], scaler=None)
    assert gradients(model) == pytest.approx(expected, rel=1e-5)


def test_with_a_scaler_gradients_are_unscaled_before() -> None:
    model = nn.Linear(2, 1, bias=False)
    nn.init.zeros_(model.weight)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    scaler.scale(model(torch.tensor([[3.0, 4.0]])).sum()).backward()
    clip_gradients(model, 1.0, optimizers=[optimizer], scaler=scaler)
    scaler.step(optimizer)
    scaler.update()
    assert model.weight.flatten().tolist() == pytest.approx([-0.6, -0.8], rel=1e-5)


def test_nothing_is_read_from_the_card(monkeypatch: pytest.MonkeyPatch) -> None:
    model = with_gradients(3.0, 4.0)

    def read(*_: Any) -> Any:
        raise AssertionError("a value was read")

    with monkeypatch.context() as patch:
        for name in ("item", "__bool__", "__int__", "__float__", "__index__", "tolist"):
            patch.setattr(torch.Tensor, name, read)
        clip_gradients(model, 1.0, optimizers=[], scaler=None)
    assert gradients(model) == pytest.approx([0.6, 0.8], rel=1e-5)
