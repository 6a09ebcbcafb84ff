"""One inspect run, on the CPU: which call is shown, what the step costs, what is refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from planner.config.step import StepConfig, parse_input
from planner.config.target import Target
from planner.errors import ModelError, TargetError
from planner.wire.module_counts import FlopRules, ModelCounts
from planner.worker.count.inspection import inspect_model
from planner.worker.target.contract import load

B = 4
WriteModel = Callable[..., Target]
HEAD = "import torch\nfrom torch import nn\n"
LINEAR = (
    HEAD
    + "class Net(nn.Module):\n"
    + "    def __init__(self):\n"
    + "        super().__init__()\n"
    + "        self.a = nn.Linear(3, 5)\n"
    + "        self.b = nn.Linear(5, 1)\n"
    + "    def forward(self, x):\n"
    + "        return self.b(self.a(x).relu())\n"
    + "def build_model():\n"
    + "    return Net()\n"
)
FORWARD = 2 * B * (3 * 5 + 5 * 1)
BACKWARD = 2 * B * (3 * 5 + 2 * 5 * 1)  # no gradient of the input


def inspected(target: Target, *inputs: str, depth: int = 1, **options: int) -> ModelCounts:
    config = StepConfig(batch_size=B, inputs=tuple(parse_input(text) for text in inputs), **options)
    return inspect_model(load(target), config, torch.device("cpu"), depth)


def test_one_step(write_model: WriteModel) -> None:
    found = inspected(write_model(LINEAR), "3")
    assert found.step.forward_flops_per_sample == FORWARD / B
    assert found.step.step_flops == FORWARD + BACKWARD
    assert found.step.activations_per_sample == 5 + 1
    assert found.step.uncounted_operators == ()
    assert found.forward_flops_by_torch == FORWARD
    assert [(row.path, row.kind) for row in found.modules] == [
        ("", "Net"), ("a", "Linear"), ("b", "Linear"),
    ]  # fmt: skip
    assert found.counts.parameters == found.modules[0].parameters == 3 * 5 + 5 + 5 + 1


def test_steps_and_micro_batches_asked_for_change_nothing(write_model: WriteModel) -> None:
    target = write_model(LINEAR)
    several = inspected(target, "3", steps=3, accumulate=2)
    assert several.step.step_flops == FORWARD + BACKWARD
    assert not any("times" in text for text in several.assumptions)


def test_what_a_training_step_passes_to_the_model(write_model: WriteModel) -> None:
    target = write_model(
        LINEAR
        + "def build_batch(batch_size):\n"
        + "    return torch.rand(batch_size, 1)\n"
        + "def training_step(model, batch):\n"
        + "    wide = torch.cat([batch] * 3, dim=1) * 2\n"
        + "    return (model(x=wide) + model(x=wide)).mean()\n"
    )
    found = inspected(target)
    assert found.modules[0].forward_flops == FORWARD
    assert found.step.step_flops == 2 * (FORWARD + BACKWARD)
    assert found.assumptions == (
        "optimizer: AdamW (none was given)",
        "training_step calls the model 2 times: the table shows the first call, step_flops has "
        "all of them",
    )


def test_a_model_that_is_not_called_as_a_whole(write_model: WriteModel) -> None:
    target = write_model(
        LINEAR
        + "def build_batch(batch_size):\n"
        + "    return torch.rand(batch_size, 3)\n"
        + "def training_step(model, batch):\n"
        + "    return model.a(batch).mean()\n"
    )
    found = inspected(target)
    assert found.flop_rules is FlopRules.TORCH
    assert {row.path: row.forward_flops for row in found.modules} == {
        "": 2 * B * 3 * 5, "a": 2 * B * 3 * 5, "b": 0,
    }  # fmt: skip
    assert found.assumptions[1].startswith("training_step does not call the model")
    assert found.step.activations_per_sample is None


def test_a_scripted_model(write_model: WriteModel) -> None:
    target = write_model(
        HEAD + "def build_model():\n    return torch.jit.script(nn.Linear(3, 5))\n"
    )
    found = inspected(target, "3")
    assert found.modules[0].forward_flops == 2 * B * 3 * 5


def test_modules_that_take_their_shape_from_the_input(write_model: WriteModel) -> None:
    target = write_model(HEAD + "def build_model():\n    return nn.LazyLinear(5)\n")
    assert inspected(target, "3").modules[0].parameters == 3 * 5 + 5


def test_without_an_input_the_error_teaches(write_model: WriteModel) -> None:
    with pytest.raises(TargetError, match="--input 3x224x224"):
        inspected(write_model(LINEAR))


def test_what_the_model_raises_comes_with_its_frames(write_model: WriteModel) -> None:
    with pytest.raises(ModelError, match=r"failed \(step 1, batch 4\): RuntimeError") as caught:
        inspected(write_model(LINEAR), "7")
    assert "in forward" in caught.value.frames
