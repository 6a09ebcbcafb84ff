from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from planner.errors import UsageError
from planner.worker.model.checkpointed_blocks import chosen_blocks
from planner.worker.model.checkpointing import checkpoint_activations, repeated_blocks


class Block(nn.Module):
    """Counts how often its forward runs: twice in training when it is checkpointed."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.heads = nn.ModuleList([nn.Sequential(nn.Linear(4, 4), nn.Tanh()) for _ in range(2)])
        self.runs = 0

    def forward(self, x: Any) -> Any:
        self.runs += 1
        return self.first(x) + sum(head(x) for head in self.heads)


class Stage(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential(Block(), Block())
        self.down = nn.Linear(4, 4)

    def forward(self, x: Any) -> Any:
        return self.down(self.blocks(x))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(4, 4)
        self.layer1 = nn.Sequential(Block(), Block())
        self.layer2 = nn.ModuleList([Block(), Block(), Block()])
        self.stages = nn.Sequential(Stage(), Stage())

    def forward(self, x: Any) -> Any:
        x = self.layer1(self.stem(x))
        for block in self.layer2:
            x = block(x)
        return self.stages(x)


def test_blocks_of_every_chain_and_of_nested_stages() -> None:
    model = Net()
    assert [type(block) for block in repeated_blocks(model)] == [Block] * 9
    assert repeated_blocks(nn.Sequential(Block(), Block(), nn.Linear(4, 4))) != []


def test_layers_alone_are_no_blocks() -> None:
    assert repeated_blocks(nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))) == []


def test_blocks_are_recomputed_and_gradients_are_the_same() -> None:
    torch.manual_seed(0)
    model, x = Net(), torch.randn(2, 4)
    model(x).sum().backward()
    expected = {name: parameter.grad for name, parameter in model.named_parameters()}
    names = list(model.state_dict())
    model.zero_grad()
    notes = checkpoint_activations(model)
    assert notes.assumptions == ("activation checkpointing: per block (9 x Block)",)
    assert notes.notes == notes.assumptions
    blocks = [module for module in model.modules() if isinstance(module, Block)]
    for block in blocks:
        block.runs = 0
    model(x).sum().backward()
    assert [block.runs for block in blocks] == [2] * 9
    assert list(model.state_dict()) == names
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter.grad, expected[name])


def test_nothing_is_recomputed_without_gradients() -> None:
    model = nn.Sequential(Block(), Block())
    checkpoint_activations(model)
    with torch.no_grad():
        model(torch.randn(2, 4))
    assert model[0].runs == 1


def test_a_list_that_grows_later_is_recomputed_as_it_was() -> None:
    class Joins(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, items: list[Any]) -> Any:
            return self.a(torch.stack(items).sum(0)) + self.b(items[0])

    class Dense(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList([Joins(), Joins()])

        def forward(self, x: Any) -> Any:
            items = [x]
            for layer in self.layers:
                items.append(layer(items))
            return items[-1]

    model = Dense()
    x = torch.randn(2, 4)
    model(x).sum().backward()
    expected = model.layers[0].a.weight.grad
    model.zero_grad()
    checkpoint_activations(model)
    model(x).sum().backward()
    assert torch.equal(model.layers[0].a.weight.grad, expected)


@pytest.mark.parametrize(
    ("attribute", "words"),
    [
        ("gradient_checkpointing_enable", "gradient_checkpointing_enable()"),
        ("set_grad_checkpointing", "set_grad_checkpointing(True)"),
        ("enable_gradient_checkpointing", "enable_gradient_checkpointing()"),
        ("checkpoint_activations", "checkpoint_activations()"),
    ],
)
def test_the_models_own_method_comes_first(attribute: str, words: str) -> None:
    calls: list[tuple[Any, ...]] = []
    model = Net()
    setattr(model, attribute, lambda *values: calls.append(values))
    notes = checkpoint_activations(model)
    assert notes.assumptions == (f"activation checkpointing: the model's {words}",)
    assert len(calls) == 1


@pytest.mark.parametrize("attribute", ["checkpoint_activations", "gradient_checkpointing"])
def test_the_models_own_attribute_is_set_wherever_it_is(attribute: str) -> None:
    model = Net()
    setattr(model, attribute, False)
    setattr(model.layer1[0], attribute, False)
    notes = checkpoint_activations(model)
    assert notes.assumptions == (f"activation checkpointing: the model's attribute {attribute}",)
    assert getattr(model, attribute) is True
    assert getattr(model.layer1[0], attribute) is True


def test_a_switch_that_refuses_is_passed_over() -> None:
    def refuse() -> None:
        raise ValueError("Net does not support gradient checkpointing.")

    model = Net()
    model.gradient_checkpointing_enable = refuse  # type: ignore[assignment]
    assert "per block" in checkpoint_activations(model).assumptions[0]


def test_no_blocks_is_a_warning() -> None:
    notes = checkpoint_activations(nn.Linear(4, 4))
    assert notes.assumptions == ()
    assert "nothing is checkpointed" in notes.warnings[0]


@pytest.mark.parametrize(
    ("words", "chosen"),
    [
        ("every:2", [1, 3]),
        ("every:3", [2]),
        ("first:3", [0, 1, 2]),
        ("1,3", [1, 3]),
        ("[0-2]", [0, 1, 2]),
        ("*", [0, 1, 2, 3]),
    ],
)
def test_some_blocks_are_recomputed(words: str, chosen: list[int]) -> None:
    model = nn.Sequential(*(Block() for _ in range(4)))
    notes = checkpoint_activations(model, blocks=words)
    model(torch.randn(2, 4)).sum().backward()
    assert [number for number, block in enumerate(model) if block.runs == 2] == chosen
    assert f"{len(chosen)} modules by {words!r} ({len(chosen)} x Block" in notes.assumptions[0]


def test_a_part_of_a_block_is_recomputed_by_the_end_of_its_name() -> None:
    model = nn.Sequential(nn.ModuleDict({"part": Block()}), Block())
    assert list(chosen_blocks(model, [], "part")) == ["0.part"]
    assert list(chosen_blocks(model, [], "0*")) == ["0.part"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("first:9", "the model has 4 repeated blocks .* ask for fewer"),
        ("layer", "did you mean layers.3"),
        ("layers", r"names a container; write 'layers.\*'"),
        ("zzzzzzzz", "its modules are layers.0,"),
    ],
)
def test_blocks_that_are_not_there(words: str, said: str) -> None:
    class Holds(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList(Block() for _ in range(4))

    with pytest.raises(UsageError, match=said):
        checkpoint_activations(Holds(), blocks=words)
    with pytest.raises(UsageError, match="name its modules instead"):
        checkpoint_activations(nn.Linear(4, 4), blocks="every:2")


class GradientCheckpointingLayer(nn.Module):
    """As in transformers: a layer with a switch of its own."""

    gradient_checkpointing = False

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> Any:
        return self.b(self.a(x))


def test_layers_with_a_switch_are_switched_one_by_one() -> None:
    class Switched(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList(GradientCheckpointingLayer() for _ in range(4))
            self.old = nn.Linear(4, 4)
            self.old.gradient_checkpointing = False

        def gradient_checkpointing_enable(self) -> None:
            for module in (*self.layers, self.old):
                module.gradient_checkpointing = True

    model = Switched()
    checkpoint_activations(model, blocks="layers.1,layers.3")
    assert [one.gradient_checkpointing for one in model.layers] == [False, True, False, True]
    assert model.old.gradient_checkpointing is False
