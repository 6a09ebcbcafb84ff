from __future__ import annotations

from collections import OrderedDict, UserDict, namedtuple

import torch
from torch.nn.utils.rnn import pack_sequence

from planner.step.tree import map_tensors, tensors_in

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
