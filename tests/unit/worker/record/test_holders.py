"""Names of live tensors; a CPU tensor stands in for one on the card."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from planner.wire.trace import TensorCategory
from planner.worker.record import holders
from planner.worker.record.holders import Holders, Holding
from tests.unit.worker.model.test_composite import packed


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)
        self.head = nn.Linear(4, 3)
        self.head.weight = self.layer.weight
        self.register_buffer("mask", torch.ones(3))
        self.cache = torch.ones(2)

    def forward(self, x: Any) -> Any:
        return self.head(x) + self.layer(x) * self.mask


@pytest.fixture(autouse=True)
def _card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holders, "_CARD", "cpu")


def names(holdings: Any) -> list[tuple[str, str, str]]:
    return [(h.category.value, h.module, h.tensor) for h in holdings]


def test_weights() -> None:
    assert names(Holders(Net(), None, None).weights()) == [
        ("parameter", "layer", "weight"),
        ("parameter", "layer", "bias"),
        ("parameter", "head", "bias"),
        ("buffer", "", "mask"),
    ]


def test_a_quantised_weight_brings_its_scales() -> None:
    net = Net()
    weight: Any = net.layer.weight
    weight.quant_state = type("QuantState", (), {})()
    weight.quant_state.absmax = torch.ones(4)
    assert names(Holders(net, None, None).weights())[:3] == [
        ("parameter", "layer", "weight"),
        ("parameter", "layer", "weight.quant_state.absmax"),
        ("parameter", "layer", "bias"),
    ]


def test_state_in_a_wrapper_is_its_parts() -> None:
    net = Net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    optimizer.state[net.layer.bias] = {"exp_avg": packed()}
    assert names(Holders(net, optimizer, None).optimizer_state()) == [
        ("optimizer state", "layer", "bias.exp_avg.codes"),
        ("optimizer state", "layer", "bias.exp_avg.scales"),
    ]


def test_attributes_that_are_not_registered() -> None:
    assert names(Holders(Net(), None, None).attributes()) == [("buffer", "", "cache")]


def test_gradients_are_those_that_are_there() -> None:
    model = Net()
    found = Holders(model, None, None)
    assert list(found.gradients()) == []
    model(torch.ones(2, 4)).sum().backward()
    assert names(found.gradients())[-1] == ("gradient", "head", "bias")
    assert len(names(found.gradients())) == 3


def test_optimizer_state_belongs_to_its_parameter() -> None:
    model = Net()
    optimizer = torch.optim.AdamW(model.parameters(), lr=torch.tensor(0.1), foreach=False)
    scaler = torch.amp.GradScaler("cpu")
    found = Holders(model, optimizer, scaler)
    model(torch.ones(2, 4)).sum().backward()
    scaler.scale(torch.ones(1))
    optimizer.step()
    state = names(found.optimizer_state())
    assert ("optimizer state", "layer", "weight.exp_avg") in state
    assert ("optimizer state", "head", "bias.exp_avg_sq") in state
    assert ("optimizer state", "", "lr") in state
    assert ("optimizer state", "", "_scale") in state


def test_an_optimizer_of_any_make() -> None:
    assert list(Holders(Net(), object(), None).optimizer_state()) == []


def test_inputs_have_their_paths() -> None:
    batch = {"ids": torch.ones(2), "more": [torch.ones(3), None]}
    assert names(Holders.inputs(batch)) == [
        ("input", "", "batch['ids']"),
        ("input", "", "batch['more'][0]"),
    ]


def test_a_view_is_held_at_the_beginning_of_its_storage() -> None:
    whole = torch.zeros(10)
    (holding,) = Holders.inputs(whole[6:])
    assert holding == Holding(
        address=whole.data_ptr(), category=TensorCategory.INPUT, tensor="batch"
    )


def test_what_has_no_memory_of_its_own_is_passed_over() -> None:
    tensors = [torch.empty(0), torch.zeros(3).to_sparse(), torch.empty(3, device="meta")]
    assert list(Holders.inputs(tensors)) == []


def test_several_optimizers_one_that_comes_later_and_parameters_outside_the_model() -> None:
    model, outside = Net(), nn.Linear(2, 2)
    first = torch.optim.Adam(model.layer.parameters())
    found = Holders(model, {"first": first, "scheduler": None}, None)
    later = torch.optim.Adam([model.head.bias, *outside.parameters()])
    found.add_optimizer(later)
    found.add_optimizer(later)
    (model(torch.ones(2, 4)).sum() + outside(torch.ones(2)).sum()).backward()
    first.step()
    later.step()
    assert names(found.weights())[3:5] == [("parameter", "", "")] * 2
    assert names(found.gradients())[-2:] == [("gradient", "", "")] * 2
    state = names(found.optimizer_state())
    assert ("optimizer state", "layer", "weight.exp_avg") in state
    assert ("optimizer state", "head", "bias.exp_avg") in state
    assert len([one for one in state if one[2] == "exp_avg"]) == 2


def test_both_parts_of_a_sparse_gradient() -> None:
    table = nn.Embedding(10, 3, sparse=True)
    table(torch.tensor([1, 2])).sum().backward()
    assert names(Holders(table, None, None).gradients()) == [("gradient", "", "weight")] * 2


def test_tensors_within_an_object_of_the_batch() -> None:
    class Images:
        def __init__(self) -> None:
            self.tensors = torch.ones(2)

        def to(self, device: Any) -> Any:
            return self

    assert names(Holders.inputs((Images(),))) == [("input", "", "batch[0].tensors")]
