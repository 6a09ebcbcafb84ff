from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations
from torch.overrides import TorchFunctionMode

from planner.worker.model.meta import (
    NotPlaceableError,
    has_meta,
    lazy_parameters,
    parameters_on_meta,
    to_device,
)

CPU = torch.device("cpu")


class Recorder(TorchFunctionMode):
    """Shapes in the order in which one function of torch was asked for them."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self._function = function
        self.shapes: list[tuple[int, ...]] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is self._function:
            first = args[0]
            self.shapes.append(tuple(first.shape if isinstance(first, torch.Tensor) else first))
        return func(*args, **(kwargs or {}))


class Everything(nn.Module):
    """Own parameters, own buffers, children before and after them, ties and an RNN."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Parameter(torch.randn(2, 3))
        self.register_buffer("mask", torch.ones(3, 5))
        self.embedding = nn.Embedding(7, 11)
        self.norm = nn.BatchNorm1d(13)
        self.rnn = nn.LSTM(4, 6, num_layers=2)
        self.head = nn.Linear(11, 7, bias=False)
        self.head.weight = self.embedding.weight
        self.kept = [self.first, self.head.weight]


def built() -> Everything:
    with parameters_on_meta():
        return Everything()


def test_parameters_lose_their_storage_and_buffers_keep_it() -> None:
    model = built()
    assert all(parameter.is_meta for parameter in model.parameters())
    assert model.mask.sum().item() == 15
    assert not has_meta(Everything())


def test_the_hook_ends_with_the_context() -> None:
    built()
    assert nn.Linear(2, 2).weight.device.type == "cpu"


def test_the_order_is_that_of_to() -> None:
    with Recorder(torch.Tensor.to) as ordinary:
        Everything().to("meta")
    model = built()
    with parameters_on_meta():
        model.mask = torch.empty(3, 5, device="meta")
        model.norm = nn.BatchNorm1d(13, device="meta")
    with Recorder(torch.empty_strided) as placed:
        to_device(model, CPU)
    tied = (7, 11)  # visited twice by .to(), allocated once
    assert ordinary.shapes.count(tied) == 2
    ordinary.shapes.reverse()
    ordinary.shapes.remove(tied)
    ordinary.shapes.reverse()
    assert placed.shapes == ordinary.shapes
    assert len(placed.shapes) > 12


def test_identity_ties_and_attributes_survive() -> None:
    with parameters_on_meta():
        model = Everything()
        model.first.tag = "first"  # type: ignore[attr-defined]
        model.norm.weight.requires_grad_(False)
    before = dict(model.named_parameters())
    to_device(model, CPU)
    assert all(parameter is before[name] for name, parameter in model.named_parameters())
    assert model.head.weight is model.embedding.weight
    assert model.kept[0] is model.first
    assert model.first.tag == "first"  # type: ignore[attr-defined]
    assert not model.norm.weight.requires_grad
    assert model.first.requires_grad
    assert model.first.is_leaf
    assert model.first.grad is None
    assert not has_meta(model)


def test_a_placed_rnn_runs_and_trains() -> None:
    model = built()
    to_device(model, CPU)
    assert all(
        flat is getattr(model.rnn, name)
        for flat, name in zip(model.rnn._flat_weights, model.rnn._flat_weights_names, strict=True)
    )
    output, _ = model.rnn(torch.ones(3, 2, 4))
    output.sum().backward()
    assert model.rnn.weight_hh_l1.grad is not None


def test_one_parameter_under_two_names() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            shared = nn.Parameter(torch.empty(3, 3))
            self.a = shared
            self.b = shared
            nn.init.normal_(shared)

    with parameters_on_meta():
        model = Two()
    assert model.a is model.b
    assert model.a.is_meta
    to_device(model, CPU)
    assert model.a is model.b


@pytest.mark.parametrize(
    "build",
    [
        pytest.param(lambda: parametrizations.weight_norm(nn.Linear(4, 4)), id="weight-norm"),
        pytest.param(lambda: parametrizations.spectral_norm(nn.Linear(4, 4)), id="spectral-norm"),
        pytest.param(lambda: nn.utils.spectral_norm(nn.Linear(4, 4)), id="old-spectral-norm"),
        pytest.param(
            lambda: nn.utils.weight_norm(nn.Linear(4, 4)),
            id="old-weight-norm",
            marks=pytest.mark.filterwarnings("ignore::FutureWarning"),
        ),
        pytest.param(lambda: nn.Linear(4, 4).half().float(), id="cast"),
        pytest.param(lambda: nn.MultiheadAttention(4, 2, batch_first=True), id="attention"),
    ],
)
def test_reparametrised_modules_are_placed(build: Any) -> None:
    with parameters_on_meta():
        model = build()
    to_device(model, CPU)
    inputs = [torch.ones(2, 3, 4)] * (3 if isinstance(model, nn.MultiheadAttention) else 1)
    output = model(*inputs)
    (output[0] if isinstance(output, tuple) else output).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_initialisers_and_copies_run_without_storage() -> None:
    with parameters_on_meta():
        layer = nn.Linear(4, 4)
        nn.init.orthogonal_(layer.weight)
        nn.init.trunc_normal_(layer.weight, std=0.02)
        layer.weight.data.copy_(torch.ones(4, 4))
        layer.load_state_dict({"weight": torch.ones(4, 4), "bias": torch.ones(4)})
    assert layer.weight.is_meta


def test_a_gradient_hook_needs_real_weights() -> None:
    with parameters_on_meta():
        model = nn.Linear(2, 2)
        model.weight.register_hook(lambda gradient: gradient * 2)
    with pytest.raises(NotPlaceableError, match="'weight' has a gradient hook"):
        to_device(model, CPU)


def test_a_plain_tensor_made_of_weights_needs_real_weights() -> None:
    with parameters_on_meta():
        model = nn.Sequential(nn.Linear(2, 2))
        model[0].norm = model[0].weight.detach().norm()
    with pytest.raises(NotPlaceableError, match=r"'0\.norm' is a plain tensor"):
        to_device(model, CPU)


def test_lazy_parameters_wait_for_their_shape() -> None:
    with parameters_on_meta():
        model = nn.LazyLinear(3)
    assert lazy_parameters(model) == 2
    to_device(model, CPU)
    assert model(torch.ones(2, 5)).shape == (2, 3)
    assert lazy_parameters(model) == 0
