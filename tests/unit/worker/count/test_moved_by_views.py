"""Views and messages move no bytes of the card, whatever storages show."""

from __future__ import annotations

import importlib

import pytest

torch = pytest.importorskip("torch")
traffic = importlib.import_module("planner.worker.count.traffic")


def test_a_view_of_a_wrapped_tensor_and_a_message_move_nothing() -> None:
    importlib.import_module("torch.distributed._functional_collectives")
    moved = traffic.moved_bytes
    whole, part = torch.zeros(8), torch.zeros(4)  # storages that do not show what is a view
    assert moved(torch.ops.aten.slice.Tensor, (whole, 0, 0, 4), {}, part) == (0, 0)
    assert moved(torch.ops.aten.detach.default, (whole,), {}, whole.clone()) == (0, 0)
    gather = torch.ops._c10d_functional.all_gather_into_tensor.default
    assert moved(gather, (part, 2, "group"), {}, whole) == (0, 0)
    assert moved(torch.ops.aten.relu.default, (part,), {}, part.clone()) == (16, 16)
