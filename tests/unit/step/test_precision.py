from __future__ import annotations

import torch
from torch import nn

from planner.step.precision import autocast, cast_model, cast_tensor, grad_scaler
from planner.workload import Mode, Precision, StepConfig

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
