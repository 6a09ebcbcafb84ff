"""The words for a task, and the target that they make."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from planner.config.published import Library, Quant, Task
from planner.config.step import Mode, OptimizerName, Precision
from planner.config.target import TargetKind
from planner.errors import UsageError
from planner.estimation.request import model_request
from planner.published import packages
from planner.published.names import named_model
from planner.published.target import SettledModel, settle
from planner.published.words import task_config


@pytest.fixture(autouse=True)
def all_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "_is_installed", lambda name: True)


@pytest.fixture
def config(tmp_path: Path) -> str:
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"model_type": "llama"}))
    return f"hf:{file}"


def settled(text: str, step: dict[str, Any] | None = None, **task: Any) -> SettledModel:
    model = named_model(text)
    assert model is not None
    return settle(text, model, step or {}, task, ())


def test_the_target_holds_config_and_task(config: str) -> None:
    found = settled(config, task="lora", lora_rank=16, lora_targets="q_proj, v_proj")
    published = found.target.published
    assert published is not None
    assert found.target.kind is TargetKind.LIBRARY
    assert found.target.label == config
    assert json.loads(published.config) == {"model_type": "llama"}
    assert published.task.lora_targets == ("q_proj", "v_proj")
    assert dict(found.given) == {
        "task": "lora", "lora_rank": 16, "lora_targets": "q_proj,v_proj",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("precision", "dtype", "autocast"),
    [
        (None, None, None),
        ("bf16", "bfloat16", None),
        ("amp-bf16", "float32", "bfloat16"),
        ("amp-fp16", "float32", "float16"),
        (Precision.AS_BUILT, None, None),
    ],
)
def test_the_precision_decides_the_dtype_of_the_weights(
    config: str, precision: Any, dtype: str | None, autocast: str | None
) -> None:
    published = settled(config, {"precision": precision}).target.published
    assert published is not None
    assert (published.dtype, published.autocast) == (dtype, autocast)


def test_the_optimizer_is_a_habit_and_the_callers_word_comes_first(config: str) -> None:
    assert settled(config).step_words["optimizer"] is OptimizerName.ADAMW_FUSED
    assert settled(config, like="loop").step_words["optimizer"] is OptimizerName.ADAMW
    assert settled(config, {"optimizer": "sgd"}).step_words["optimizer"] == "sgd"


@pytest.mark.parametrize("task", ["embed", "generate", "infer"])
def test_tasks_without_a_backward_infer(config: str, task: str) -> None:
    request = model_request(config, task=task)  # type: ignore[misc]
    assert request.config.mode is Mode.INFER
    assert request.config.optimizer is None


def test_the_mode_infer_is_the_task_infer(config: str) -> None:
    request = model_request(config, mode="infer")
    assert dict(request.given) == {"task": "infer"}


@pytest.mark.parametrize("words", [{}, {"task": "generate"}, {"new_tokens": 3}])
def test_the_mode_generate_is_the_task_generate(config: str, words: dict[str, Any]) -> None:
    request = model_request(config, mode="generate", **words)
    assert request.config.mode is Mode.INFER
    assert dict(request.given) == {"task": "generate", **words}


def test_the_mode_generate_and_another_task_contradict(config: str) -> None:
    with pytest.raises(UsageError, match="mode generate and task lora were given"):
        model_request(config, mode="generate", task="lora")


@pytest.mark.parametrize("target", ["models/gpt2.py", lambda: None])
def test_only_a_published_model_has_the_mode_generate(target: Any) -> None:
    with pytest.raises(UsageError, match=r"a model file calls generate\(\) in its inference_step"):
        model_request(target, mode="generate")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ({"lora_rank": 8}, "adapters belong to --task lora or qlora"),
        ({"task": "finetune", "quant": "nf4"}, "quantised ones stay frozen"),
        ({"task": "lora", "new_tokens": 4}, "it belongs to --task generate"),
        ({"task": "infer", "num_beams": 4}, "it belongs to --task generate"),
        ({"task": "infer", "kv_cache": "static"}, "it belongs to --task generate"),
        ({"task": "generate", "kv_cache": "paged"}, "dynamic, static"),
        ({"task": "lora", "lora_rank": 0}, "at least 1"),
        ({"task": "lora", "lora_targets": [1]}, "text or a list of texts"),
        ({"task": "lorra"}, "'lorra' is not one of"),
        ({"image": "12by12"}, "is no size"),
    ],
)
def test_words_that_do_not_go_together(config: str, words: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        settled(config, **words)


def test_a_task_that_trains_contradicts_the_mode(config: str) -> None:
    with pytest.raises(UsageError, match="leave one of the two out"):
        settled(config, {"mode": "infer"}, task="lora")


@pytest.mark.parametrize("library", [Library.TIMM, Library.TORCHVISION])
def test_a_task_that_a_library_cannot_do(library: Library) -> None:
    with pytest.raises(UsageError, match="it has pretrain, finetune, embed, infer"):
        task_config({"task": "lora"}, library, infers=False)


def test_words_are_read() -> None:
    found = task_config(
        {"task": Task.QLORA, "quant": "int8", "image": "512x768"},
        Library.TRANSFORMERS,
        infers=False,
    )
    assert (found.task, found.quant, found.image) == (Task.QLORA, Quant.INT8, (512, 768))


def test_options_of_a_task_need_a_published_model() -> None:
    with pytest.raises(UsageError, match="--lora-rank"):
        model_request("models/gpt2.py", lora_rank=8)
    with pytest.raises(UsageError, match="the target is a function"):
        model_request(lambda: None, task="lora")


def test_functions_of_a_model_file_are_refused(config: str) -> None:
    with pytest.raises(UsageError, match="is a published model: its task decides"):
        model_request(config, build_batch=lambda size: size)


def test_a_package_that_is_missing(config: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "_is_installed", lambda name: name == "transformers")
    settled(config)
    with pytest.raises(UsageError, match=r"peft and bitsandbytes .* 'vram-planner\[hf\]'"):
        settled(config, task="qlora")


def test_the_habits_of_sfttrainer(config: str) -> None:
    found = settled(config, task="lora", like="trl")
    published = found.target.published
    assert published is not None
    assert (published.dtype, published.autocast) == (None, "bfloat16")
    assert found.step_words["precision"] is Precision.AMP_BF16
    assert found.step_words["checkpoint_activations"] is True
    given = settled(config, {"precision": "amp-fp16"}, task="lora", like="trl").target.published
    assert given is not None
    assert (given.dtype, given.autocast) == ("float32", "float16")


def test_sfttrainer_trains_no_images() -> None:
    with pytest.raises(UsageError, match="one of timm: use --like trainer"):
        task_config({"like": "trl"}, Library.TIMM, infers=False)


def test_trl_that_is_missing_is_named(config: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "_is_installed", lambda name: name != "trl")
    with pytest.raises(UsageError, match=r"--task lora --like trl needs it: pip install trl"):
        settled(config, task="lora", like="trl")
    assert settled(config, task="infer", like="trl").target.published is not None
