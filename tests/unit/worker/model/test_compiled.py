from __future__ import annotations

import pytest
import torch
from torch import nn

from planner.config.step import CompileMode, StepConfig
from planner.errors import UsageError
from planner.worker.model.compiled import (
    check,
    has_compiled_parts,
    in_eager_mode,
    is_compiled,
    original,
    plain_path,
)


def net() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 2), nn.GELU())


def test_a_compiled_model_a_compiled_part_and_neither() -> None:
    plain, whole = net(), torch.compile(net(), backend="eager")
    part = nn.Sequential(torch.compile(net(), backend="eager"), nn.Linear(2, 2))
    in_place = nn.Sequential(net())
    in_place[0].compile(backend="eager")
    assert [has_compiled_parts(one) for one in (plain, whole, part, in_place)] == [
        False, True, True, True,
    ]  # fmt: skip
    assert isinstance(original(whole), nn.Sequential)
    assert original(plain) is plain


def test_names_are_those_of_the_user() -> None:
    whole = torch.compile(net(), backend="eager")
    assert [plain_path(name) for name, _ in whole.named_parameters()] == ["0.weight", "0.bias"]
    assert plain_path("body._orig_mod.0") == "body.0"
    assert plain_path("_orig_mod") == ""


def test_eager_mode_compiles_nothing() -> None:
    graphs: list[object] = []

    def backend(graph: torch.fx.GraphModule, inputs: object) -> object:
        graphs.append(graph)
        return graph.forward

    model = torch.compile(net(), backend=backend)
    with in_eager_mode(model):
        model(torch.ones(1, 2))
    assert graphs == []
    model(torch.ones(1, 2))
    assert len(graphs) == 1
    with in_eager_mode(net()):
        pass


def test_whether_steps_are_compiled_is_decided_by_the_option_then_by_the_file() -> None:
    plain, own = net(), torch.compile(net(), backend="eager")
    answers = {
        mode: (
            is_compiled(StepConfig(compile=mode), plain),
            is_compiled(StepConfig(compile=mode), own),
        )
        for mode in (None, CompileMode.DEFAULT, CompileMode.OFF)
    }
    assert answers == {
        None: (False, True), CompileMode.DEFAULT: (True, True), CompileMode.OFF: (False, False),
    }  # fmt: skip


def test_kernels_are_chosen_by_times_on_a_real_card_alone() -> None:
    tuned, card = StepConfig(compile=CompileMode.MAX_AUTOTUNE), torch.device("cuda", 0)
    check(tuned, card, is_real=True)
    with pytest.raises(UsageError, match="no such times"):
        check(tuned, card, is_real=False)
    with pytest.raises(UsageError, match="runs on the CPU"):
        check(StepConfig(compile=CompileMode.DEFAULT), torch.device("cpu"), is_real=True)
    check(StepConfig(compile=CompileMode.OFF), torch.device("cpu"), is_real=True)
