from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from planner.worker.model.layout import empty_as, is_dense

SHAPES = {
    "contiguous": lambda device: torch.empty(3, 4, device=device),
    "transposed": lambda device: torch.empty(3, 4, device=device).t(),
    "size-1": lambda device: torch.empty(3, 1, 4, device=device).transpose(0, 1),
    "expanded": lambda device: torch.empty(1, device=device).expand(5),
    "gaps": lambda device: torch.empty(6, 4, device=device)[::2],
    "scalar": lambda device: torch.empty((), device=device),
    "empty": lambda device: torch.empty(0, 3, device=device),
    "channels-last": lambda device: torch.empty(2, 3, 4, 5, device=device).to(
        memory_format=torch.channels_last
    ),
}


@pytest.mark.parametrize("make", SHAPES.values(), ids=SHAPES.keys())
def test_layout_is_that_of_a_copy(make: Callable[[str], torch.Tensor]) -> None:
    expected = torch.empty_like(make("cpu"))
    got = empty_as(make("meta"), torch.device("cpu"))
    assert got.device.type == "cpu"
    assert (got.shape, got.dtype) == (expected.shape, expected.dtype)
    assert got.stride() == expected.stride()


def test_dtype_can_change() -> None:
    assert empty_as(torch.empty(2), torch.device("cpu"), torch.int64).dtype is torch.int64


def test_dense() -> None:
    assert is_dense(torch.empty(3, 4).t())
    assert is_dense(torch.empty(300).as_strided((3, 1), (1, 100)))
    assert not is_dense(torch.empty(6, 4)[::2])
    assert not is_dense(torch.empty(1).expand(5))


def test_a_sparse_tensor_has_no_strides_to_ask_for() -> None:
    assert not is_dense(torch.eye(3).to_sparse_csr())
    assert not is_dense(torch.eye(3).to_sparse())
