"""The words on top of a report."""

from __future__ import annotations

from dataclasses import replace

import pytest

from planner.curve_result import Curve
from planner.report.heading import any_batch, software, step_words
from planner.workload import Mode, OptimizerName, StepConfig


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (StepConfig(), "training, fp32"),
        (StepConfig(mode=Mode.INFER, optimizer=OptimizerName.ADAM), "inference, fp32"),
        (StepConfig(accumulate=4), "training with 4 batches accumulated, fp32"),
        (
            StepConfig(
                sequence_length=128,
                optimizer=OptimizerName.ADAM,
                channels_last=True,
                checkpoint_activations=True,
            ),
            "training, sequence 128, fp32, optimizer adam, channels_last, activations checkpointed",
        ),
    ],
)
def test_any_batch(config: StepConfig, words: str) -> None:
    assert any_batch(config) == words


def test_an_optimizer_is_named_as_it_is_called() -> None:
    assert step_words(StepConfig(), "AdamW") == ["fp32", "optimizer AdamW"]


def test_software(curve: Curve) -> None:
    whole = "torch 2.14.1+cu130, CUDA 13.0, cuDNN 9.24.0, Python 3.11.7, planner 0.1.0"
    assert software(curve.versions) == whole
    bare = replace(curve.versions, cudnn=None)
    assert software(bare) == whole.replace("cuDNN 9.24.0, ", "")
