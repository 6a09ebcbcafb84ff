from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from planner.config.step import Mode, Precision, StepConfig
from planner.config.weights import WeightDtype
from planner.worker.model.precision import (
    autocast,
    cast_model,
    cast_tensor,
    grad_scaler,
    weight_dtypes,
)

CPU = torch.device("cpu")


def test_a_scaler_belongs_to_amp_fp16_in_training() -> None:
    wanted = [
        (precision, mode)
        for precision in Precision
        for mode in Mode
        if grad_scaler(StepConfig(precision=precision, mode=mode), CPU) is not None
    ]
    assert wanted == [(Precision.AMP_FP16, Mode.TRAIN)]


def test_autocast_belongs_to_amp() -> None:
    dtypes = {}
    for precision in Precision:
        with autocast(StepConfig(precision=precision), CPU)():
            enabled = torch.is_autocast_enabled("cpu")
            dtypes[precision] = torch.get_autocast_dtype("cpu") if enabled else None
    assert dtypes == {
        Precision.AS_BUILT: None,
        Precision.FP32: None,
        Precision.FP16: None,
        Precision.BF16: None,
        Precision.AMP_FP16: torch.float16,
        Precision.AMP_BF16: torch.bfloat16,
    }


def test_ties_survive_a_cast() -> None:
    model = nn.Sequential(nn.Embedding(4, 4), nn.Linear(4, 4, bias=False))
    model[1].weight = model[0].weight
    cast_model(model, StepConfig(precision=Precision.BF16, channels_last=True))
    assert model[0].weight is model[1].weight
    assert model[0].weight.dtype is torch.bfloat16


def test_tensors_that_need_no_cast_are_not_copied() -> None:
    tensor = torch.zeros(3)
    assert cast_tensor(tensor, StepConfig()) is tensor
    assert cast_tensor(tensor, StepConfig(precision=Precision.AMP_BF16)) is tensor
    video = cast_tensor(torch.zeros(2, 3, 4, 5, 6), StepConfig(channels_last=True))
    assert video.is_contiguous(memory_format=torch.channels_last_3d)


class Quantised(nn.Parameter):
    """A weight that is stored in another dtype once it reaches a card, like bitsandbytes' own."""

    def to(self, *arguments: Any, **keywords: Any) -> Any:
        """As of a weight that still has its values."""
        return Quantised(super().to(*arguments, **keywords), requires_grad=False)


def adapted() -> nn.Module:
    """A bfloat16 base of 16 x 16 with float32 adapters of 16 x 2 and 2 x 16."""
    base = nn.Linear(16, 16, bias=False, dtype=torch.bfloat16)
    return nn.ModuleDict(
        {"base": base, "down": nn.Linear(16, 2, bias=False), "up": nn.Linear(2, 16, bias=False)}
    )


def test_a_cast_of_mixed_dtypes_names_what_it_cast() -> None:
    model = adapted()
    cast = cast_model(model, StepConfig(precision=Precision.BF16))
    assert cast.assumptions == ()
    assert cast.warnings == (
        "2 float32 tensors (256 B; first down.weight) were cast to bfloat16; a run that keeps them "
        "needs --precision as-built",
    )
    assert {weight.dtype for weight in model.parameters()} == {torch.bfloat16}


def test_a_cast_to_a_third_dtype_names_both() -> None:
    cast = cast_model(adapted(), StepConfig(precision=Precision.FP16))
    assert [text.split(" (")[0] for text in cast.warnings] == [
        "1 bfloat16 tensor", "2 float32 tensors",
    ]  # fmt: skip
    assert "base.weight) was cast to float16" in cast.warnings[0]


@pytest.mark.parametrize("precision", [None, Precision.AS_BUILT, Precision.AMP_BF16])
def test_what_was_built_stays(precision: Precision | None) -> None:
    model = adapted()
    before = [(id(weight), weight.dtype) for weight in model.parameters()]
    cast = cast_model(model, StepConfig(precision=precision))
    assert (cast.assumptions, cast.warnings) == ((), ())
    assert [(id(weight), weight.dtype) for weight in model.parameters()] == before
    half = torch.zeros(3, dtype=torch.float16)
    assert cast_tensor(half, StepConfig(precision=precision)) is half


def test_float32_that_was_asked_for_is_cast_to_and_said() -> None:
    model = nn.Linear(4, 4, dtype=torch.bfloat16)
    cast = cast_model(model, StepConfig(precision=Precision.FP32))
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    assert cast.warnings == ()
    assert cast.assumptions == (
        "the model file builds its weights in bfloat16; they were cast to float32 (--precision "
        "fp32; as-built keeps them)",
    )
    assert cast.notes == cast.assumptions
    half = torch.zeros(3, dtype=torch.bfloat16)
    assert cast_tensor(half, StepConfig(precision=Precision.FP32)).dtype is torch.float32


def test_one_half_is_cast_to_the_other_and_said() -> None:
    model = nn.Linear(4, 4, dtype=torch.bfloat16)
    cast = cast_model(model, StepConfig(precision=Precision.FP16))
    assert "builds its weights in bfloat16; they were cast to float16" in cast.assumptions[0]


@pytest.mark.parametrize("precision", [Precision.FP32, Precision.FP16, Precision.BF16])
def test_of_a_float32_model_nothing_is_said(precision: Precision) -> None:
    model = nn.BatchNorm1d(4)
    model.register_buffer("wide", torch.zeros(4, dtype=torch.float64))  # too small to count
    cast = cast_model(model, StepConfig(precision=precision))
    assert (cast.assumptions, cast.warnings) == ((), ())


def test_a_large_buffer_is_named_like_a_weight() -> None:
    model = nn.Linear(4, 4, dtype=torch.bfloat16)
    model.register_buffer("codes", torch.zeros(1 << 14))
    cast = cast_model(model, StepConfig(precision=Precision.BF16))
    assert cast.warnings[0].startswith("1 float32 tensor (64.0 KiB; first codes) was cast")


def test_weights_that_are_not_floating_are_left_alone() -> None:
    model = nn.Linear(4, 4)
    stored = nn.Parameter(torch.zeros(8, dtype=torch.uint8), requires_grad=False)
    model.register_parameter("stored", stored)
    cast_model(model, StepConfig(precision=Precision.BF16))
    assert model.stored is stored
    assert model.stored.dtype is torch.uint8
    assert model.weight.dtype is torch.bfloat16


def test_weights_that_will_be_quantised_keep_their_kind_and_are_not_named() -> None:
    model = nn.Linear(4, 4)
    weight = Quantised(torch.zeros(8, dtype=torch.float16), requires_grad=False)
    model.register_parameter("codes", weight)
    cast = cast_model(model, StepConfig(precision=Precision.BF16))
    assert (cast.assumptions, cast.warnings) == ((), ())
    assert type(model.codes) is Quantised


def test_dtypes_of_weights_come_with_their_share() -> None:
    model = adapted()
    tied = nn.Linear(16, 16, bias=False)
    tied.weight = model["base"].weight
    model["tied"] = tied
    model.register_parameter(
        "stored", nn.Parameter(torch.zeros(600, dtype=torch.uint8), requires_grad=False)
    )
    assert weight_dtypes(model) == (
        WeightDtype(dtype="uint8", elements=600, size_bytes=600),
        WeightDtype(dtype="bfloat16", elements=256, size_bytes=512),
        WeightDtype(dtype="float32", elements=64, size_bytes=256),
    )
    assert weight_dtypes(nn.Identity()) == ()


def test_a_weight_around_others_counts_as_what_it_stores() -> None:
    class Wrapped(torch.Tensor):
        """Looks like bfloat16 and stores bytes and scales."""

        codes: torch.Tensor
        scales: torch.Tensor

        @staticmethod
        def __new__(cls, codes: torch.Tensor, scales: torch.Tensor) -> Wrapped:
            make: Any = torch.Tensor._make_wrapper_subclass
            made: Wrapped = make(cls, codes.shape, dtype=torch.bfloat16)
            made.codes, made.scales = codes, scales
            return made

        def __tensor_flatten__(self) -> tuple[list[str], None]:
            return ["codes", "scales"], None

        @classmethod
        def __torch_dispatch__(cls, function: Any, *details: Any) -> Any:
            if function is torch.ops.aten.detach.default:
                return details[1][0]
            raise NotImplementedError(function)

    model = nn.Module()
    wrapped = Wrapped(torch.zeros(32, 4, dtype=torch.int8), torch.zeros(32))
    model.register_parameter("weight", nn.Parameter(wrapped, requires_grad=False))
    assert weight_dtypes(model) == (
        WeightDtype(dtype="int8", elements=128, size_bytes=128),
        WeightDtype(dtype="float32", elements=32, size_bytes=128),
    )
