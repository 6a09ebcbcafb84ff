"""The words on top of a report."""

from __future__ import annotations

from dataclasses import replace

import pytest

from planner.config.step import CompileMode, Mode, OptimizerName, Precision, StepConfig
from planner.config.weights import WeightDtype
from planner.render.terminal.heading import any_batch, software, step_words, weight_words
from planner.results.curve import Curve
from planner.units import GIB

SINGLE = WeightDtype(dtype="float32", elements=GIB // 4, size_bytes=GIB)
HALF = WeightDtype(dtype="bfloat16", elements=GIB, size_bytes=2 * GIB)
STORED = WeightDtype(dtype="uint8", elements=3 * GIB, size_bytes=3 * GIB)
FP32 = StepConfig(precision=Precision.FP32)
AS_BUILT = StepConfig(precision=Precision.AS_BUILT)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (FP32, "training, fp32 weights"),
        (
            replace(FP32, mode=Mode.INFER, optimizer=OptimizerName.ADAM),
            "inference, fp32 weights",
        ),
        (replace(FP32, accumulate=4), "training with 4 batches accumulated, fp32 weights"),
        (
            replace(
                FP32,
                sequence_length=128,
                optimizer=OptimizerName.ADAM,
                channels_last=True,
                checkpoint_activations=True,
            ),
            "training, sequence 128, fp32 weights, optimizer adam, channels_last, activations "
            "checkpointed",
        ),
    ],
)
def test_any_batch(config: StepConfig, words: str) -> None:
    assert any_batch(config, [SINGLE]) == words


@pytest.mark.parametrize(
    ("config", "weights", "words"),
    [
        (AS_BUILT, [HALF], "bf16 weights (as built)"),
        (StepConfig(), [HALF], "bf16 weights (as built)"),
        (StepConfig(precision=Precision.BF16), [HALF], "bf16 weights"),
        (StepConfig(precision=Precision.AMP_BF16), [SINGLE], "fp32 weights, autocast bf16"),
        (StepConfig(precision=Precision.AMP_FP16), [HALF], "bf16 weights, autocast fp16"),
        (AS_BUILT, [STORED, SINGLE], "3.00 GiB uint8 + 1.00 GiB fp32 weights (as built)"),
        (
            AS_BUILT,
            [STORED, HALF, SINGLE, replace(SINGLE, dtype="int8"), replace(HALF, dtype="float64")],
            "3.00 GiB uint8 + 2.00 GiB bf16 + 1.00 GiB fp32 + 2 more dtypes weights (as built)",
        ),
        (FP32, [], "fp32"),
        (StepConfig(), [], "as-built"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_weights_are_named_as_they_are(
    config: StepConfig, weights: list[WeightDtype], words: str
) -> None:
    assert weight_words(config, weights) == words


def test_an_optimizer_is_named_as_it_is_called() -> None:
    assert step_words(FP32, "AdamW", [SINGLE]) == ["fp32 weights", "optimizer AdamW"]


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        (CompileMode.DEFAULT, "compiled"),
        (CompileMode.REDUCE_OVERHEAD, "compiled (reduce-overhead)"),
        (CompileMode.OFF, "not compiled"),
    ],
)
def test_how_the_model_is_compiled_is_said(mode: CompileMode, words: str) -> None:
    assert step_words(replace(FP32, compile=mode), None, [SINGLE])[1:] == [words]


def test_what_is_done_beside_the_step_is_said() -> None:
    config = replace(FP32, clip_grad_norm=1.0, ema=0.999)
    assert step_words(config, None, [SINGLE])[1:] == [
        "gradients clipped to norm 1", "EMA of the weights with decay 0.999",
    ]  # fmt: skip


def test_software(curve: Curve) -> None:
    whole = "torch 2.14.1+cu130, CUDA 13.0, cuDNN 9.24.0, Python 3.11.7, planner 0.1.0"
    assert software(curve.versions) == whole
    bare = replace(curve.versions, cudnn=None)
    assert software(bare) == whole.replace("cuDNN 9.24.0, ", "")
