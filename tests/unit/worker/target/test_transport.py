from __future__ import annotations

import threading

import pytest
import torch
from torch import nn

from planner.errors import TargetError
from planner.worker.target.transport import VALUES_LIMIT_BYTES, pack, structure_copy, unpack


def test_a_large_module_packs_to_kilobytes() -> None:
    model = nn.Sequential(nn.Linear(4096, 4096), nn.BatchNorm1d(4096))
    assert len(pack(model)) < 16 << 10


def test_structure_travels_and_values_do_not() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).half()
    model.to(memory_format=torch.channels_last)
    model[0].weight.requires_grad_(False)
    model[0].weight.tag = "stem"  # type: ignore[attr-defined]
    arrived = unpack(pack(model))["model_or_builder"]
    for sent, got in zip(model.state_dict().items(), arrived.state_dict().items(), strict=True):
        assert sent[0] == got[0]
        assert got[1].device.type == "meta"
        assert (got[1].shape, got[1].stride(), got[1].dtype) == (
            sent[1].shape,
            sent[1].stride(),
            sent[1].dtype,
        )
    assert isinstance(arrived[0].weight, nn.Parameter)
    assert not arrived[0].weight.requires_grad
    assert arrived[0].bias.requires_grad
    assert arrived[0].weight.tag == "stem"


def test_ties_survive() -> None:
    model = nn.Sequential(nn.Embedding(10, 4), nn.Linear(4, 10, bias=False))
    model[1].weight = model[0].weight
    arrived = structure_copy(model)
    assert arrived[0].weight is arrived[1].weight


def test_an_lstm_keeps_its_flat_weights() -> None:
    arrived = structure_copy(nn.LSTM(4, 8))
    assert all(
        flat is getattr(arrived, name)
        for flat, name in zip(arrived._flat_weights, arrived._flat_weights_names, strict=True)
    )


def test_functions_travel_with_what_they_capture() -> None:
    small = torch.arange(4)
    large = torch.ones(VALUES_LIMIT_BYTES)
    sent = unpack(pack(nn.Identity(), lambda b: (small[:b], large[:b])))
    got_small, got_large = sent["build_batch"](3)
    assert got_small.tolist() == [0, 1, 2]
    assert got_large.tolist() == [0, 0, 0]
    assert got_large.dtype is torch.float32


def test_large_integers_and_sparse_tensors_keep_their_values() -> None:
    edges, adjacency = torch.arange(VALUES_LIMIT_BYTES), torch.eye(3).to_sparse_csr()
    sent = unpack(pack(nn.Identity(), lambda b: (edges[-b:], adjacency)))
    got, sparse = sent["build_batch"](2)
    assert got.tolist() == [VALUES_LIMIT_BYTES - 2, VALUES_LIMIT_BYTES - 1]
    assert sparse.to_dense().tolist() == torch.eye(3).tolist()


def test_what_cannot_be_sent_is_named() -> None:
    model = nn.Identity()
    model.lock = threading.Lock()  # type: ignore[assignment]
    with pytest.raises(TargetError, match=r"lock.*pass a function that builds the model"):
        pack(model)
    assert structure_copy(model) is model
