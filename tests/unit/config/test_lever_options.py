"""Options that make a step smaller, and what they cannot go together with."""

from __future__ import annotations

from typing import Any

import pytest

from planner.config.parse import step_config
from planner.config.step import CompileMode, Offload, StepConfig
from planner.errors import UsageError


@pytest.mark.parametrize(
    ("beside", "said"),
    [
        ({"accumulate": 2}, "accumulation over 2 micro-batches"),
        ({"clip_grad_norm": 1.0}, "--clip-grad-norm"),
        ({"precision": "amp-fp16"}, "GradScaler"),
        ({"set_to_none": False}, "--no-set-to-none"),
        ({"optimizer": "none"}, "optimizer none steps nothing"),
        ({"optimizer": "muon"}, "muon"),
        ({"mode": "infer"}, "mode is infer"),
    ],
    ids=str,
)
def test_an_optimizer_in_backward_needs_gradients_one_by_one(
    beside: dict[str, Any], said: str
) -> None:
    assert step_config(beside) != StepConfig()
    with pytest.raises(UsageError, match=said):
        step_config({"optimizer_in_backward": True, **beside})


@pytest.mark.parametrize("beside", [{}, {"ema": 0.9}, {"precision": "amp-bf16"}], ids=str)
def test_an_optimizer_in_backward_goes_with(beside: dict[str, Any]) -> None:
    assert step_config({"optimizer_in_backward": True, **beside}).optimizer_in_backward


@pytest.mark.parametrize(
    ("given", "mode"),
    [
        ("Reduce_Overhead", CompileMode.REDUCE_OVERHEAD),
        (True, CompileMode.DEFAULT),
        (False, CompileMode.OFF),
        (None, None),
    ],
    ids=str,
)
def test_a_model_is_compiled_in_a_mode(given: object, mode: CompileMode | None) -> None:
    config = step_config({"compile": given})
    assert config.compile is mode
    assert config.compiles == (given not in (False, None))


@pytest.mark.parametrize(
    ("beside", "said"),
    [
        ({"chunked_loss": 2}, "--chunked-loss"),
        ({"offload": "activations"}, "--offload activations"),
        ({"num_gpus": 2, "parallel": "pp=2"}, "--parallel pp"),
    ],
    ids=str,
)
def test_a_compiled_model_cannot_be_taken_apart(beside: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=rf"--compile reduce-overhead.*{said}"):
        step_config({"compile": "reduce-overhead", **beside})
    assert step_config({"compile": "off", **beside}).compile is CompileMode.OFF


@pytest.mark.parametrize("words", ["all", "every:2", "first:8", "layer1.*,layers.3", "*.mlp"])
def test_blocks_are_named_or_counted(words: str) -> None:
    assert step_config({"checkpoint_blocks": words}).checkpoint_blocks == words


@pytest.mark.parametrize("words", ["", "every:0", "every:", "first:x", "last:2", "a,,b", "a b"])
def test_other_words_for_blocks_are_refused(words: str) -> None:
    with pytest.raises(UsageError, match="write every:2, first:8 or 'layer1"):
        step_config({"checkpoint_blocks": words})


def test_blocks_are_checkpointed_in_training_alone() -> None:
    with pytest.raises(UsageError, match=r"checkpoint-blocks.* mode is infer"):
        step_config({"checkpoint_blocks": "all", "mode": "infer"})


@pytest.mark.parametrize(
    ("given", "parts"),
    [
        ("activations", ["activations"]),
        (["optimizer", "activations", "optimizer"], ["activations", "optimizer"]),
        ([], []),
    ],
    ids=str,
)
def test_parts_to_offload_are_kept_once_in_their_order(given: Any, parts: list[str]) -> None:
    assert [one.value for one in step_config({"offload": given}).offload] == parts


@pytest.mark.parametrize("given", ["foo", ["activations", "foo"]], ids=str)
def test_other_parts_are_refused(given: Any) -> None:
    with pytest.raises(UsageError, match="offload 'foo' is not one of activations, optimizer"):
        step_config({"offload": given})


@pytest.mark.parametrize(
    ("beside", "said"),
    [
        ({"optimizer_in_backward": True}, "--optimizer-in-backward"),
        ({"precision": "amp-fp16"}, "GradScaler"),
        ({"optimizer": "none"}, "optimizer none steps nothing"),
        ({"optimizer": "muon"}, "muon"),
        ({"optimizer": "adamw8bit"}, "adamw8bit keeps its state on the card"),
        ({"optimizer": "adamw-fused"}, "fused"),
        ({"optimizer": "adamw", "optimizer_arguments": {"fused": True}}, "fused"),
        ({"mode": "infer"}, "mode is infer"),
    ],
    ids=str,
)
def test_an_optimizer_on_the_host_goes_without(beside: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        step_config({"offload": "optimizer", **beside})


def test_models_of_a_pipeline_are_offloaded_in_one_way() -> None:
    assert step_config({"offload": "model", "mode": "infer"}).pipeline_offload is Offload.MODEL
    assert step_config({"offload": "activations"}).pipeline_offload is None
    with pytest.raises(UsageError, match="offload model and sequential were given"):
        step_config({"offload": ["model", "sequential"], "mode": "infer"})


def test_activations_are_offloaded_in_training_alone() -> None:
    with pytest.raises(UsageError, match=r"--offload.* mode is infer"):
        step_config({"offload": "activations", "mode": "infer"})
