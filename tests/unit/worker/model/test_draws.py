from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from planner.worker.model.draws import DrawNothing


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: torch.zeros_like(torch.ones(2, 3).t()), id="like"),
        pytest.param(lambda: torch.randn_like(torch.ones(2), dtype=torch.float16), id="like-dtype"),
        pytest.param(lambda: torch.ones(2, 3).normal_().uniform_(0, 1), id="in-place"),
    ],
)
def test_shape_dtype_and_layout_are_those_of_torch(make: Callable[[], torch.Tensor]) -> None:
    expected = make()
    with torch.device("meta"), DrawNothing():
        got = make()
    assert got.is_meta
    assert (got.shape, got.stride(), got.dtype) == (
        expected.shape,
        expected.stride(),
        expected.dtype,
    )


def test_real_tensors_are_filled() -> None:
    with DrawNothing():
        assert torch.zeros(100).normal_().abs().sum() > 0
        assert nn.init.normal_(torch.zeros(100)).abs().sum() > 0
        assert torch.randn(100).device.type == "cpu"


def test_initialisers_of_meta_tensors_return_them() -> None:
    weight = torch.empty(3, 3, device="meta")
    with DrawNothing():
        assert nn.init.normal_(weight) is weight
        assert nn.init.uniform_(tensor=weight) is weight
        assert nn.init.trunc_normal_(weight) is weight
