from __future__ import annotations

from collections import OrderedDict, UserDict, namedtuple
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.utils.rnn import pack_sequence

from planner.worker.model.tensors import map_tensors, parts_of, size_bytes, tensors_in

Pair = namedtuple("Pair", "x y")


def test_every_nesting_is_walked_in_order_and_leaves_pass_through() -> None:
    tree = {
        "ids": torch.zeros(1),
        "more": [Pair(torch.zeros(2), "text"), (torch.zeros(3), None, 4)],
        "user": UserDict(a=torch.zeros(4)),
        "ordered": OrderedDict(b=torch.zeros(5)),
    }
    assert [(path, tensor.numel()) for path, tensor in tensors_in(tree)] == [
        ("['ids']", 1),
        ("['more'][0][0]", 2),
        ("['more'][1][0]", 3),
        ("['user']['a']", 4),
        ("['ordered']['b']", 5),
    ]
    mapped = map_tensors(tree, lambda tensor: tensor + 1)
    assert isinstance(mapped["more"][0], Pair)
    assert mapped["more"][0].y == "text"
    assert mapped["more"][1][1:] == (None, 4)
    assert all(bool((tensor == 1).all()) for _, tensor in tensors_in(mapped))


def test_a_packed_sequence_keeps_its_lengths() -> None:
    packed = pack_sequence([torch.zeros(3, 2), torch.zeros(1, 2)])
    mapped = map_tensors(packed, lambda tensor: tensor.to("meta"))
    assert mapped.data.is_meta
    assert mapped.batch_sizes.device.type == "cpu"


@dataclass(frozen=True)
class Boxes:
    corners: torch.Tensor
    parent: Any = None


def test_a_dataclass_is_walked_and_one_without_tensors_is_itself() -> None:
    inner = Boxes(torch.ones(2))
    tree = Boxes(torch.zeros(3), {"inner": inner})
    assert [path for path, _ in tensors_in([tree])] == [
        "[0].corners",
        "[0].parent['inner'].corners",
    ]
    mapped = map_tensors(tree, lambda tensor: tensor + 1)
    assert mapped.parent["inner"].corners.tolist() == [2.0, 2.0]
    assert (tree.corners.sum(), inner.corners.sum()) == (0, 2)
    empty = Boxes(corners=None)  # type: ignore[arg-type] # as a user may leave it
    assert map_tensors(empty, torch.neg) is empty


def test_a_dataclass_that_refers_to_itself_ends() -> None:
    tree = Boxes(torch.ones(1))
    object.__setattr__(tree, "parent", tree)
    assert len(list(tensors_in(tree))) == 1


def test_parts_and_sizes_of_sparse_tensors() -> None:
    dense = torch.eye(100, dtype=torch.float64)
    assert parts_of(dense)[0] is dense
    assert size_bytes(dense) == 80_000
    assert size_bytes(dense.to_sparse()) == 100 * (8 + 2 * 8)
    assert size_bytes(dense.to_sparse_csr()) == 100 * (8 + 8) + 101 * 8
    assert size_bytes(dense.to_sparse_csc()) == 100 * (8 + 8) + 101 * 8
