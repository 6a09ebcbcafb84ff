"""The table of levers: what is listed for which step, its flags, and why one cannot apply."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from planner.config.parse import NAMES, step_config
from planner.config.published import Decoding, Library, Quant, Task, TaskConfig
from planner.config.step import InputSpec, Mode, Offload, OptimizerName, Precision, StepConfig
from planner.config.weights import WeightDtype
from planner.estimation.advice.combine import go_together, merged
from planner.estimation.advice.lever_row import LeverRow, Subject
from planner.estimation.advice.levers import lever_rows
from planner.estimation.advice.words import command, flags
from planner.hardware.database import load_gpus
from planner.published.words import NAMES as TASK_NAMES
from planner.wire.own_lever import OwnLever

FLOAT32 = (WeightDtype(dtype="float32", elements=10, size_bytes=40),)
SUBJECT = Subject(
    config=StepConfig(batch_size=96),
    weights=FLOAT32,
    optimizer="AdamW",
    card=load_gpus(None).find("rtx3090").spec,
    largest_batch=40,
)


def rows_of(**changes: Any) -> Mapping[str, LeverRow]:
    return {row.name: row for row in lever_rows(replace(SUBJECT, **changes))}


def test_each_lever_is_a_change_of_options_that_exist() -> None:
    rows = rows_of()
    assert len(rows) == len(lever_rows(SUBJECT)) > 12  # names are distinct
    for row in rows.values():
        assert {*row.options} <= {*NAMES, *TASK_NAMES, "model_arguments"}
        step_config(
            {
                name: value
                for name, value in row.options.items()
                if name in NAMES and value is not None
            }
        )
        assert row.note
        assert row.lever.code


def test_micro_batches_keep_the_global_batch_and_begin_where_they_may_be_enough() -> None:
    rows = [row for row in lever_rows(SUBJECT) if row.strength]
    for row in rows:
        assert row.options["batch_size"] * row.options["accumulate"] == 96
    assert [row.strength for row in rows if not row.is_reserve] == [2, 3, 4]  # 96 / 3 = 32 <= 40
    assert max(row.strength for row in rows) == 48  # of at most 64
    accumulated = rows_of(config=StepConfig(batch_size=96, accumulate=2))
    assert accumulated["4 micro-batches"].options == {"batch_size": 48, "accumulate": 4}
    assert rows_of()["smaller batch"].options == {"batch_size": 40}
    assert "smaller batch" not in rows_of(largest_batch=200)


@pytest.mark.parametrize(
    ("name", "changes", "why"),
    [
        ("autocast", {"config": StepConfig(precision=Precision.BF16)}, "not in float32"),
        (
            "checkpoint activations",
            {"config": StepConfig(checkpoint_activations=True)},
            "checkpointed already",
        ),
        ("checkpoint activations", {"config": StepConfig(mode=Mode.INFER)}, "only a training step"),
        ("expandable segments", {"config": StepConfig(alloc_conf="backend:native")}, "was given"),
        ("drop gradients", {}, "already"),
        ("SGD", {"optimizer": "SGD"}, "the optimizer is SGD"),
        ("Adafactor", {"optimizer": "SGD"}, "no more state"),
        ("SGD", {"optimizer": "none"}, "no optimizer steps"),
        ("fused optimizer", {"optimizer": "AdamW (fused)"}, "it is fused"),
        ("fused optimizer", {"optimizer": "Shampoo"}, "the model file makes it"),
        ("channels_last", {"config": StepConfig(channels_last=True)}, "on already"),
        ("micro-batches", {"config": StepConfig(batch_size=1)}, "cannot be divided"),
    ],
)
def test_a_lever_that_cannot_apply_says_why(name: str, changes: dict[str, Any], why: str) -> None:
    assert why in rows_of(**changes)[name].cannot


def test_an_eager_model_may_be_compiled_and_a_compiled_one_be_eager() -> None:
    plain, compiled = rows_of(), rows_of(is_compiled=True)
    assert plain["torch.compile"].lever.flags == ("--compile", "default")
    assert plain["torch.compile"].is_slow
    assert compiled["eager"].lever.flags == ("--compile", "off")
    assert "eager" not in plain
    assert "torch.compile" not in compiled
    for other in ("chunked loss", "activation offload"):
        assert not go_together([plain["torch.compile"]], plain[other])
        assert not go_together([plain[other]], plain["torch.compile"])
    config = StepConfig(chunked_loss=8)
    assert "loss in pieces" in rows_of(config=config)["torch.compile"].cannot


def test_a_card_without_bfloat16_gets_float16() -> None:
    t4 = load_gpus(None).find("t4").spec
    assert rows_of(card=t4)["autocast"].options == {"precision": "amp-fp16"}
    assert rows_of()["autocast"].options == {"precision": "amp-bf16"}


def test_a_published_model_has_its_tasks_and_others_have_not() -> None:
    assert "LoRA" not in rows_of()
    rows = rows_of(library=Library.TRANSFORMERS, task=TaskConfig())
    assert rows["LoRA"].options == {"task": "lora"}
    assert rows["LoRA"].is_last
    assert not rows["LoRA"].cannot
    lora = rows_of(library=Library.TRANSFORMERS, task=TaskConfig(task=Task.LORA))
    assert lora["LoRA"].cannot
    assert not lora["QLoRA"].cannot
    assert rows_of(library=Library.TIMM, task=TaskConfig())["LoRA"].cannot


def test_levers_of_a_model_file_change_its_arguments() -> None:
    own = (OwnLever(name="window", arguments=(("attention", "window"),), note="sees less"),)
    row = rows_of(own=own, given=(("depth", 12),))["window"]
    assert flags(row.options) == (
        "--model-arg", "depth=12", "--model-arg", "attention=window",
    )  # fmt: skip
    assert row.note == "sees less"
    assert rows_of(own=own, given=(("attention", "window"),))["window"].cannot


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"batch_size": 8}, "--batch 8"),
        ({"checkpoint_activations": True, "channels_last": False}, "--checkpoint-activations"),
        ({"set_to_none": True}, ""),
        ({"set_to_none": False, "calibration": False}, "--no-set-to-none --no-calibration"),
        (
            {"optimizer": OptimizerName.ADAMW, "optimizer_arguments": {"foreach": False}},
            "--optimizer adamw --optimizer-arg foreach=false",
        ),
        ({"optimizer_arguments": ("lr=0.1",)}, "--optimizer-arg lr=0.1"),
        ({"precision": None, "mode": "train", "steps": 3, "timeout_s": 600.0}, ""),
        ({"image": (512, 768), "lora_targets": ("q", "v")},
         "--image 512x768 --lora-targets q --lora-targets v"),
        ({"inputs": (InputSpec(shape=(3, 8), name="x"),)}, "--input x=3x8:float32"),
        ({"model_arguments": {"name": "a b", "flag": True}},
         "--model-arg name=a b --model-arg flag=true"),
        ({"on_progress": print, "build_batch": print}, ""),
    ],
)  # fmt: skip
def test_options_as_words(options: dict[str, Any], words: str) -> None:
    assert " ".join(flags(options)) == words


def test_a_command_can_be_pasted_into_a_shell() -> None:
    text = command("my net.py", "t4", {"batch_size": 8, "model_arguments": {"name": "a b"}})
    assert shlex.split(text) == [
        "planner", "estimate", "my net.py", "--gpu", "t4", "--batch", "8", "--model-arg",
        "name=a b",
    ]  # fmt: skip


def test_parts_are_offloaded_where_they_can_be() -> None:
    rows = rows_of()
    assert flags(rows["activation offload"].options) == ("--offload", "activations")
    assert "save_on_cpu(pin_memory=True)" in rows["activation offload"].code
    assert rows["optimizer offload"].options == {"offload": (Offload.OPTIMIZER,)}
    assert not rows["activation offload"].cannot
    assert not rows["optimizer offload"].cannot
    given = rows_of(config=StepConfig(offload=(Offload.ACTIVATIONS,)))
    assert given["activation offload"].cannot == "activations are offloaded already"
    both = (Offload.ACTIVATIONS, Offload.OPTIMIZER)
    assert given["optimizer offload"].options == {"offload": both}
    for changes, said in (
        ({"optimizer": "AdamW8bit"}, "not one of torch.optim"),
        ({"config": StepConfig(optimizer_in_backward=True)}, "steps in backward"),
        ({"config": StepConfig(precision=Precision.AMP_FP16)}, "GradScaler"),
        ({"config": StepConfig(mode=Mode.INFER)}, "only a training step"),
    ):
        assert said in rows_of(**changes)["optimizer offload"].cannot


def test_offloads_are_added_up_and_exclude_a_step_in_backward() -> None:
    rows = rows_of()
    both = [rows["activation offload"], rows["optimizer offload"]]
    assert go_together(both[:1], both[1])
    assert merged(both) == {"offload": (Offload.ACTIVATIONS, Offload.OPTIMIZER)}
    assert not go_together(both[1:], rows["optimizer in backward"])
    assert not go_together([rows["optimizer in backward"]], both[1])
    assert go_together(both[:1], rows["optimizer in backward"])


def test_weights_of_a_model_that_does_not_train_may_be_rounded() -> None:
    generates = {"library": Library.TRANSFORMERS, "task": TaskConfig(task=Task.GENERATE)}
    rows = rows_of(**generates)
    assert rows["weights in 4 bits"].lever.flags == ("--quant", "nf4")
    assert rows["weights in 8 bits"].options == {"quant": "int8"}
    assert "token" in rows["torch.compile"].cannot
    quantised = TaskConfig(task=Task.GENERATE, quant=Quant.NF4)
    assert rows_of(library=Library.TRANSFORMERS, task=quantised)["weights in 8 bits"].cannot
    assert "weights in 4 bits" not in rows_of(library=Library.TRANSFORMERS, task=TaskConfig())
    assert "weights in 4 bits" not in rows_of(
        library=Library.TIMM, task=TaskConfig(task=Task.INFER)
    )


def test_a_pipeline_has_levers_of_its_own() -> None:
    sliced = TaskConfig(task=Task.GENERATE, vae=(Decoding.SLICING,))
    rows = rows_of(library=Library.DIFFUSERS, task=sliced)
    assert rows["decoder by image"].cannot == "it is on already"
    assert rows["decoder by tiles"].options == {"vae": ["slicing", "tiling"]}
    assert rows["model offload"].lever.flags == ("--offload", "model")
    assert rows["layer offload"].options == {"offload": ["sequential"]}
    assert rows["weights in 4 bits"].options == {"quant": "nf4"}
    offloaded = StepConfig(mode=Mode.INFER, offload=(Offload.MODEL,))
    again = rows_of(library=Library.DIFFUSERS, task=sliced, config=offloaded)
    assert again["layer offload"].cannot
    denoiser = rows_of(library=Library.DIFFUSERS, task=TaskConfig(task=Task.INFER))
    assert "model offload" not in denoiser
