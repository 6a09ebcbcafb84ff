"""The moving average of the weights: the values of torch's own, and nothing read from the card."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from planner.worker.model.weight_average import WeightAverage, weight_average


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 2, dtype=torch.float64))


def moved(model: nn.Module, by: float) -> None:
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            tensor.add_(by if tensor.is_floating_point() else 1)


def test_it_is_the_average_of_torch() -> None:
    model = network()
    own = WeightAverage(model, 0.9)
    torchs = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    torchs.update_parameters(model)  # copies
    for step in range(1, 4):
        moved(model, float(step))
        own.update()
        torchs.update_parameters(model)
    own_tensors = own.module.state_dict()
    for name, tensor in torchs.module.state_dict().items():
        torch.testing.assert_close(own_tensors[name], tensor)
    # Buffers are those of the model, parameters are behind it.
    assert torch.equal(own.module[1].running_mean, model[1].running_mean)
    assert not torch.equal(own.module[0].weight, model[0].weight)


def test_the_first_weight_by_hand() -> None:
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    average = WeightAverage(model, 0.75)
    for expected in (1.0, 1.75):  # 0.75 * 0 + 0.25 * 4, then 0.75 * 1 + 0.25 * 4
        nn.init.constant_(model.weight, 4.0)
        average.update()
        assert average.module.weight.item() == expected


def test_it_shares_nothing_with_the_model() -> None:
    model = network()
    average = WeightAverage(model, 0.9)
    own = {tensor.data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    kept = [*average.module.parameters(), *average.module.buffers()]
    assert len(kept) == len([*model.parameters(), *model.buffers()])
    assert not own & {tensor.data_ptr() for tensor in kept}


def test_weights_that_are_stored_as_integers_are_copied() -> None:
    model = nn.Linear(2, 2)
    codes = nn.Parameter(torch.zeros(4, dtype=torch.uint8), requires_grad=False)
    model.register_parameter("codes", codes)
    average = WeightAverage(model, 0.9)
    codes.data.fill_(7)
    average.update()
    assert average.module.codes.tolist() == [7] * 4


def test_tied_weights_stay_tied_and_move_once() -> None:
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    model[1].weight = model[0].weight
    nn.init.zeros_(model[0].weight)
    average = WeightAverage(model, 0.5)
    nn.init.ones_(model[0].weight)
    average.update()
    assert average.module[0].weight is average.module[1].weight
    assert average.module[0].weight.flatten().tolist() == [0.5] * 4


def test_of_a_compiled_model_the_model_inside_is_copied() -> None:
    class Compiled(nn.Module):
        def __init__(self, model: nn.Module) -> None:
            super().__init__()
            self._orig_mod = model

        def __deepcopy__(self, memo: Any) -> Any:
            raise AssertionError("what torch.compile wraps around a model is not copied")

    model = nn.Linear(2, 2)
    average = WeightAverage(Compiled(model), 0.5)
    nn.init.ones_(model.weight)
    average.update()
    assert type(average.module) is nn.Linear


def test_nothing_is_read_from_the_card(monkeypatch: pytest.MonkeyPatch) -> None:
    model = network()
    average = WeightAverage(model, 0.9)

    def read(*_: Any) -> Any:
        raise AssertionError("a value was read")

    for name in ("item", "__bool__", "__int__", "__float__", "__index__", "tolist"):
        monkeypatch.setattr(torch.Tensor, name, read)
    average.update()


def test_without_a_decay_there_is_none() -> None:
    assert weight_average(nn.Linear(2, 2), None) is None
    found = weight_average(copy.deepcopy(network()), 0.9)
    assert isinstance(found, WeightAverage)
