"""What torch reads inside operators, by values on the CPU."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from planner.worker.values.hidden_reads import Expected, expected_reads
from planner.worker.values.reader import packed, unpacked

MASK = torch.tensor([True, False, True])
TABLE: list[tuple[str, tuple[Any, ...], list[tuple[float, tuple[int, int] | None]]]] = [
    ("aten::nonzero", (torch.tensor([0, 3, 0, 4]),), [(2, (0, 4))]),
    ("aten::masked_select", (torch.zeros(2, 3), MASK), [(4, (0, 6))]),
    ("aten::masked_scatter_backward", (torch.zeros(2, 3), MASK, [4]), [(4, (0, 6))]),
    ("aten::index", (torch.zeros(3, 3), [MASK, torch.tensor([0, 1])]), [(2, (0, 3))]),
    ("aten::index", (torch.zeros(3, 3), [None, MASK]), [(2, (0, 3))]),
    ("aten::_unique2", (torch.tensor([5, 5, 7]),), [(2, (1, 3))]),
    ("aten::_unique2", (MASK,), [(2, (0, 3))]),  # of bools, how many are True
    ("aten::unique_dim", (torch.tensor([[1, 2], [1, 2], [3, 4]]), 0), [(2, (1, 3))]),
    ("aten::unique_consecutive", (torch.tensor([1, 1, 2, 1]),), [(3, (1, 4))]),
    ("aten::repeat_interleave", (torch.tensor([2, 0, 3]),), [(5, None), (1, None)]),
    ("aten::bincount", (torch.tensor([2, 7, 3]),), [(2, None), (7, None)]),
    ("aten::bincount", (torch.tensor([], dtype=torch.int64),), []),
    ("aten::histc", (torch.tensor([2.0, -1.0]),), [(-1.0, None), (2.0, None)]),
    ("aten::equal", (MASK, MASK.clone()), [(1, None)]),
    ("aten::allclose", (torch.ones(2), torch.ones(2) + 1e-9), [(1, None)]),
    ("aten::isin", (torch.tensor([1, 1, 2]), torch.tensor([4, 4])), [(2, (1, 3)), (1, (1, 2))]),
    ("aten::_linalg_check_errors", (MASK,), []),
]  # fmt: skip


@pytest.mark.parametrize(("name", "args", "wanted"), TABLE)
def test_reads_of_known_values(
    name: str, args: tuple[Any, ...], wanted: list[tuple[float, tuple[int, int] | None]]
) -> None:
    found = expected_reads(name, args, lambda tensor: tensor)
    assert found is not None
    assert [(one.number, one.bounds) for one in found] == wanted


@pytest.mark.parametrize("name", [name for name, args, _ in TABLE if "linalg" not in name])
def test_of_unknown_values_nothing_is_guessed(name: str) -> None:
    if name == "aten::histc":  # its ends decide no size
        return
    args = next(args for one, args, _ in TABLE if one == name)
    assert expected_reads(name, args, lambda _: None) is None


def test_an_operator_that_nobody_knows_is_not_guessed() -> None:
    assert expected_reads("mine::kernel", (MASK,), lambda tensor: tensor) is None


def test_boxes_are_counted_and_at_most_all_are_kept() -> None:
    pytest.importorskip("torchvision")
    boxes = torch.tensor([[0.0, 0, 2, 2], [0, 0, 2, 2.1], [5, 5, 6, 6]])
    args = (boxes, torch.tensor([0.9, 0.8, 0.7]), 0.5)
    found = expected_reads("torchvision::nms", args, lambda tensor: tensor)
    assert found == [Expected(number=2, is_size=True, bounds=(1, 3))]
    most = expected_reads("torchvision::nms", args, lambda tensor: tensor, most=True)
    assert most is not None
    assert most[0].number == 3


def test_places_of_a_sparse_tensor_that_come_twice_are_one() -> None:
    sparse = torch.sparse_coo_tensor(
        torch.tensor([[0, 0, 2], [1, 1, 0]]), torch.ones(3), (3, 3), check_invariants=False
    )
    known = expected_reads("aten::_coalesce", (sparse,), lambda tensor: tensor)
    assert known == [Expected(number=2, is_size=True, bounds=(1, 3))]
    unknown = expected_reads("aten::_coalesce", (sparse,), lambda _: None)
    assert unknown == [Expected(number=3, is_size=True, bounds=(1, 3), assumed=True)]


@pytest.mark.parametrize("content", [b"\0" * 8, b"\x01" + b"\0" * 7, bytes(range(256)) * 4096])
def test_what_a_read_gave_survives_the_log(content: bytes) -> None:
    text = packed(content)
    assert len(text) < len(content) or len(content) < 64
    assert unpacked(text) == (content if any(content) else b"")
