"""Keyword options of planner.estimate(), checked and turned into a StepConfig."""

from __future__ import annotations

from enum import Enum
from typing import Any

import pytest

from planner.config.near_words import _MEANT
from planner.config.parse import step_config
from planner.config.step import BuildOn, InputSpec, Mode, OptimizerName, Precision, StepConfig
from planner.errors import UsageError


def test_nothing_said_is_the_default() -> None:
    assert step_config({}) == StepConfig()


def test_words_become_records() -> None:
    config = step_config(
        {
            "batch_size": 32,
            "mode": "infer",
            "precision": "AMP_BF16",
            "optimizer": "sgd-momentum",
            "optimizer_arguments": {"lr": 0.1},
            "inputs": "3x224x224",
            "build_on": BuildOn.CPU,
            "set_to_none": False,
        }
    )
    assert config == StepConfig(
        batch_size=32,
        mode=Mode.INFER,
        precision=Precision.AMP_BF16,
        optimizer=OptimizerName.SGD_MOMENTUM,
        optimizer_arguments=(("lr", 0.1),),
        inputs=(InputSpec(shape=(3, 224, 224)),),
        build_on=BuildOn.CPU,
        set_to_none=False,
    )


@pytest.mark.parametrize(
    "arguments", [{"lr": 0.1}, "lr=0.1", ["lr=0.1"], (("lr", 0.1),)], ids=lambda v: str(type(v))
)
def test_arguments_in_any_form(arguments: Any) -> None:
    config = step_config({"optimizer_arguments": arguments})
    assert config.optimizer_arguments == (("lr", 0.1),)


@pytest.mark.parametrize(
    "inputs", ["ids=16:int64", ["ids=16:int64"], InputSpec(shape=(16,), dtype="int64", name="ids")]
)
def test_inputs_in_any_form(inputs: Any) -> None:
    assert step_config({"inputs": inputs}).inputs == (
        InputSpec(shape=(16,), dtype="int64", name="ids"),
    )


@pytest.mark.parametrize(
    ("options", "meant"),
    [
        ({"precision": "float16"}, r"fp16 \(weights cast\) or amp-fp16"),
        ({"precision": "torch.float32"}, "did you mean fp32?"),
        ({"precision": "bf16-mixed"}, "did you mean amp-bf16?"),
        ({"precision": "4bit"}, "did you mean as-built, with a build_model that quantizes"),
        ({"precision": "amp-bf61"}, "did you mean amp-bf16"),
        ({"mode": "inference"}, "did you mean infer?"),
        ({"optimizer": "adamw-8bit"}, "did you mean adamw8bit?"),
    ],
    ids=str,
)
def test_the_word_that_was_meant(options: Any, meant: str) -> None:
    with pytest.raises(UsageError, match=meant.replace("?", r"\?")):
        step_config(options)


def test_a_word_near_nothing_has_no_guess() -> None:
    with pytest.raises(UsageError, match=r"amp-bf16$"):
        step_config({"precision": "zzz"})


@pytest.mark.parametrize("kind", [Precision, Mode, OptimizerName], ids=lambda kind: kind.__name__)
def test_every_word_that_is_meant_is_one(kind: type[Enum]) -> None:
    known = {member.value for member in kind}
    for given, meant in _MEANT[kind].items():
        assert given not in known
        assert {text.partition(" ")[0].rstrip(",") for text in meant.split(" or ")} <= known


def test_a_sequence_length() -> None:
    assert step_config({"sequence_length": 128}) == StepConfig(sequence_length=128)


@pytest.mark.parametrize(
    "text",
    [
        "expandable_segments:True",
        "roundup_power2_divisions:[256:1,512:2,>:8], max_split_size_mb:64",
    ],
)
def test_allocator_settings_as_torch_reads_them(text: str) -> None:
    assert step_config({"alloc_conf": text}).alloc_conf == text


@pytest.mark.parametrize(
    "name",
    [
        "sequence_length",
        "precision",
        "optimizer",
        "build_on",
        "alloc_conf",
        "clip_grad_norm",
        "ema",
        "checkpoint_blocks",
        "chunked_loss",
        "compile",
    ],
)
def test_none_is_not_said(name: str) -> None:
    assert step_config({name: None}) == StepConfig()


@pytest.mark.parametrize(
    ("ema", "decay"), [(0.99, 0.99), (True, 0.999), (False, None)], ids=["number", "True", "False"]
)
def test_an_average_has_a_decay(ema: object, decay: float | None) -> None:
    assert step_config({"ema": ema}).ema == decay


def test_a_norm_may_be_a_whole_number() -> None:
    norm = step_config({"clip_grad_norm": 1}).clip_grad_norm
    assert (norm, type(norm)) == (1.0, float)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"clip_grad_norm": "1"}, "clip_grad_norm must be a number, not '1'"),
        ({"clip_grad_norm": True}, "clip_grad_norm must be a number, not True"),
        ({"clip_grad_norm": 0}, "above 0"),
        ({"ema": "0.9"}, "ema must be a number, not '0.9'"),
        ({"ema": 1}, "between 0 and 1"),
        ({"ema": 0.9, "mode": "INFER"}, "mode is infer"),
        ({"clip_grad_norm": 1, "mode": "infer"}, "mode is infer"),
        ({"batchsize": 8}, "did you mean batch_size"),
        ({"zzz": 8}, "known: batch_size"),
        ({"precision": "fp8"}, "as-built, fp32, fp16, bf16, amp-fp16, amp-bf16"),
        ({"mode": None}, "train, infer"),
        ({"batch_size": "8"}, "a whole number, not '8'"),
        ({"batch_size": True}, "a whole number, not True"),
        ({"batch_size": 1.5}, "a whole number"),
        ({"batch_size": 0}, "at least 1"),
        ({"sequence_length": "128"}, "a whole number, not '128'"),
        ({"sequence_length": True}, "a whole number, not True"),
        ({"sequence_length": 12.0}, "a whole number, not 12.0"),
        ({"sequence_length": 0}, "at least 1"),
        ({"sequence_length": 8, "inputs": "16:int64"}, "put it into the shape"),
        ({"channels_last": 1}, "True or False"),
        ({"alloc_conf": 3}, "NAME:VALUE"),
        ({"alloc_conf": "max_split_size_mb"}, "NAME:VALUE"),
        ({"alloc_conf": "expandable_segments:True;backend:native"}, "NAME:VALUE"),
        ({"inputs": 3}, "3x224x224"),
        ({"inputs": None}, "3x224x224"),
        ({"optimizer_arguments": 3}, "optimizer_arguments"),
        ({"optimizer_arguments": ["lr"]}, "KEY=VALUE"),
        ({"optimizer_arguments": [("lr", 1, 2)]}, "optimizer_arguments"),
        ({"optimizer_arguments": {"lr": [1]}}, "lr"),
        ({"optimizer_arguments": {"lr": float("nan")}}, "lr"),
    ],
    ids=str,
)
def test_what_cannot_be_understood_is_a_usage_error(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        step_config(options)
