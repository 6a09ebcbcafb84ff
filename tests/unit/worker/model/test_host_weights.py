"""Weights that are on the host while they do not run."""

from __future__ import annotations

import torch
from torch import nn

from planner.worker.model import meta
from planner.worker.model.host_weights import WeightCopies, keep_on_host, moved_without_bytes


def test_weights_get_memory_of_the_host_and_keep_their_identity() -> None:
    with meta.parameters_on_meta():
        model = nn.Sequential(nn.Linear(8, 4), nn.BatchNorm1d(4))
    weight = model[0].weight
    # 8*4 + 4 of the layer, 4 + 4 of the norm, its buffers 4 + 4, and a counter of 8 bytes
    assert keep_on_host(model) == 4 * (36 + 8 + 8) + 8
    assert model[0].weight is weight
    assert weight.device.type == "cpu"


def test_other_moves_are_as_before() -> None:
    copies = WeightCopies()
    model = nn.Linear(2, 2)
    with moved_without_bytes(copies):
        assert model.to(torch.float64).weight.dtype is torch.float64
        assert model.to("meta").weight.device.type == "meta"
    assert (copies.to_card_bytes, copies.to_host_bytes) == (0, 0)
