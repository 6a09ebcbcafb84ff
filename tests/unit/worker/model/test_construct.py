from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from planner.config.step import BuildOn, Precision, StepConfig
from planner.errors import ModelError
from planner.worker.model.construct import construct, count
from planner.worker.target.source import ModelSource

CPU = torch.device("cpu")


def run(build: Callable[[], nn.Module], **config: Any) -> Any:
    return construct(ModelSource(build_model=build), StepConfig(**config), CPU)


def reads_a_value() -> nn.Module:
    layer = nn.Linear(3, 3)
    if layer.weight.sum() > 0:
        layer.bias.data.zero_()
    return layer


def assigns_data() -> nn.Module:
    layer = nn.Linear(3, 3)
    layer.weight.data = torch.ones(3, 3)
    return layer


def moves_itself() -> nn.Module:
    return nn.Linear(3, 3).to("cpu")


@pytest.mark.parametrize(
    ("build", "words"),
    [
        pytest.param(reads_a_value, "its constructor reads parameter values", id="reads"),
        pytest.param(assigns_data, "assigns to the .data of a parameter", id="assigns"),
        pytest.param(moves_itself, "moves parameters, or reads their values", id="moves"),
    ],
)
def test_what_needs_weights_is_built_on_the_cpu_and_said(
    build: Callable[[], nn.Module], words: str
) -> None:
    result = run(build)
    assert result.build_on is BuildOn.CPU
    assert len(result.assumptions) == 1
    assert result.assumptions[0].startswith("the model was built on the CPU, because ")
    assert words in result.assumptions[0]
    assert result.model.weight.device == CPU


def test_what_needs_none_is_built_on_meta() -> None:
    result = run(lambda: nn.Linear(3, 3))
    assert result.build_on is BuildOn.META
    assert result.assumptions == ()


def test_meta_asked_for_and_not_possible() -> None:
    with pytest.raises(ModelError, match=r"cannot be built on meta, because.*--build-on cpu"):
        run(reads_a_value, build_on=BuildOn.META)


def test_cpu_asked_for() -> None:
    weights = torch.full((2, 3), 7.0)

    def build() -> nn.Module:
        layer = nn.Linear(3, 2)
        layer.weight.data.copy_(weights)
        return layer

    result = run(build, build_on=BuildOn.CPU)
    assert result.build_on is BuildOn.CPU
    assert torch.equal(result.model.weight, weights)


def test_device_asked_for_is_built_in_float32_and_cast_there() -> None:
    seen: list[torch.dtype] = []

    def build() -> nn.Module:
        layer = nn.Linear(3, 2)
        seen.append(layer.weight.dtype)
        return layer

    result = run(build, build_on=BuildOn.DEVICE, precision=Precision.BF16)
    assert result.build_on is BuildOn.DEVICE
    assert seen == [torch.float32]
    assert result.model.weight.dtype is torch.bfloat16


def test_a_host_too_small_for_one_weight() -> None:
    tries: list[torch.device] = []

    def build() -> nn.Module:
        tries.append(torch.empty(0).device)
        if tries[-1].type != "meta":
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return nn.Linear(3, 2)

    result = run(build)
    assert [device.type for device in tries] == ["cpu", "meta"]
    assert result.build_on is BuildOn.META
    assert result.model.weight.device == CPU


def test_the_users_own_error_is_the_one_of_the_cpu() -> None:
    def build() -> nn.Module:
        raise KeyError("width")

    with pytest.raises(KeyError, match="width"):
        run(build)


def test_running_out_of_memory_is_not_tried_again() -> None:
    tries: list[int] = []

    def build() -> nn.Module:
        tries.append(1)
        raise torch.OutOfMemoryError("full")

    with pytest.raises(torch.OutOfMemoryError):
        run(build)
    assert len(tries) == 1


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [
        (Precision.FP32, torch.float32),
        (Precision.FP16, torch.float16),
        (Precision.BF16, torch.bfloat16),
        (Precision.AMP_FP16, torch.float32),
        (Precision.AMP_BF16, torch.float32),
    ],
)
@pytest.mark.parametrize("build_on", [None, BuildOn.CPU, BuildOn.DEVICE])
def test_precision_casts_what_is_floating(
    precision: Precision, dtype: torch.dtype, build_on: BuildOn | None
) -> None:
    model = run(lambda: nn.BatchNorm1d(3), precision=precision, build_on=build_on).model
    assert model.weight.dtype is dtype
    assert model.running_mean.dtype is dtype
    assert model.num_batches_tracked.dtype is torch.int64


@pytest.mark.parametrize("build_on", [None, BuildOn.CPU, BuildOn.DEVICE])
def test_channels_last_reaches_convolutions(build_on: BuildOn | None) -> None:
    def build() -> nn.Module:
        return nn.ModuleList([nn.Conv2d(4, 4, 3), nn.Conv3d(4, 4, 3), nn.Linear(4, 4)])

    flat, deep, linear = run(build, channels_last=True, build_on=build_on).model
    assert flat.weight.is_contiguous(memory_format=torch.channels_last)
    assert not flat.weight.is_contiguous()
    assert deep.weight.is_contiguous(memory_format=torch.channels_last_3d)
    assert linear.weight.is_contiguous()


def test_counts_take_a_tied_tensor_once() -> None:
    model = nn.Sequential(nn.Embedding(10, 4), nn.Linear(4, 10), nn.BatchNorm1d(10))
    model[1].weight = model[0].weight
    model[1].bias.requires_grad_(False)
    counts = count(model)
    assert counts.parameters == 40 + 10 + 20
    assert counts.trainable_parameters == 40 + 20
    assert counts.buffers == 10 + 10 + 1
