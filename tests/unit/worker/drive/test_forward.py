from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from planner.worker.drive.forward import call, required_inputs, target_of


class One(nn.Module):
    def forward(self, x: Any, mask: Any = None) -> Any:
        return ("one", x, mask)


class Two(nn.Module):
    def forward(self, x: Any, y: Any) -> Any:
        return ("two", x, y)


class Any_(nn.Module):  # noqa: N801  # named after its signature
    def forward(self, *items: Any) -> Any:
        return ("any", *items)


@pytest.mark.parametrize(
    ("model", "batch", "result", "target"),
    [
        pytest.param(One(), "x", ("one", "x", None), None, id="single"),
        pytest.param(One(), ("x",), ("one", "x", None), None, id="tuple-of-one"),
        pytest.param(One(), ("x", "y"), ("one", "x", None), "y", id="one-more-is-target"),
        pytest.param(One(), ["x", "y"], ("one", "x", None), "y", id="list"),
        pytest.param(Two(), ("x", "y"), ("two", "x", "y"), None, id="all-required"),
        pytest.param(Two(), ("x", "y", "z"), ("two", "x", "y"), "z", id="two-and-target"),
        pytest.param(Any_(), ("x", "y"), ("any", "x"), "y", id="at-least-one"),
        pytest.param(Any_(), ("x", "y", "z"), ("any", "x", "y", "z"), None, id="all-otherwise"),
        pytest.param(Two(), {"y": 1, "x": 2}, ("two", 2, 1), None, id="dict"),
    ],
)
def test_how_a_batch_is_passed(model: nn.Module, batch: Any, result: Any, target: Any) -> None:
    required = required_inputs(model)
    assert call(model, batch, required) == result
    assert target_of(batch, required) == target


def test_a_compiled_model_is_asked_for_its_own_forward() -> None:
    assert required_inputs(torch.compile(Two(), backend="eager")) == 2  # type: ignore[arg-type]
