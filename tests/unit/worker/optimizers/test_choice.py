from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from planner.config.step import OptimizerName, StepConfig
from planner.errors import ModelError, UsageError
from planner.worker.optimizers.choice import Chosen, choose
from planner.worker.target.source import ModelSource


def chosen(build_optimizer: Any = None, model: nn.Module | None = None, **config: Any) -> Chosen:
    source = ModelSource(build_model=nn.Identity, build_optimizer=build_optimizer)
    return choose(source, StepConfig(**config), model or nn.Linear(2, 2))


@pytest.mark.parametrize(
    ("name", "kind", "options"),
    [
        (OptimizerName.SGD, torch.optim.SGD, {"lr": 0.01, "momentum": 0}),
        (OptimizerName.SGD_MOMENTUM, torch.optim.SGD, {"lr": 0.01, "momentum": 0.9}),
        (OptimizerName.ADAM, torch.optim.Adam, {"lr": 1e-3, "foreach": None, "fused": None}),
        (OptimizerName.ADAMW, torch.optim.AdamW, {"lr": 1e-3, "foreach": None, "fused": None}),
        (OptimizerName.ADAFACTOR, torch.optim.Adafactor, {"foreach": None}),
    ],
)
def test_names_stand_for_torchs_defaults(
    name: OptimizerName, kind: type, options: dict[str, Any]
) -> None:
    result = chosen(optimizer=name)
    assert type(result.optimizer) is kind
    assert result.name == kind.__name__
    assert result.assumptions == ()
    assert result.optimizer is not None
    for key, value in options.items():
        assert result.optimizer.defaults[key] == value


def test_none_steps_nothing() -> None:
    assert chosen(optimizer=OptimizerName.NONE) == Chosen(optimizer=None, name="none")


def test_adamw_is_assumed() -> None:
    result = chosen()
    assert result.name == "AdamW"
    assert result.assumptions == ("optimizer: AdamW (none was given)",)


def test_the_users_optimizer_gets_every_parameter_as_a_list() -> None:
    seen: list[Any] = []

    def build_optimizer(parameters: Any) -> torch.optim.Optimizer:
        seen.append(parameters)
        return torch.optim.Adagrad(parameters)

    model = nn.Linear(2, 2)
    result = chosen(build_optimizer, model)
    assert result.name == "Adagrad"
    assert result.assumptions == ()
    assert isinstance(seen[0], list)
    assert seen[0][0] is model.weight
    assert len(seen[0]) == 2


def test_a_name_replaces_build_optimizer_and_says_so() -> None:
    result = chosen(torch.optim.Adagrad, optimizer=OptimizerName.SGD)
    assert result.name == "SGD"
    assert result.assumptions == ("optimizer sgd replaces build_optimizer",)


def test_arguments_reach_the_optimizer() -> None:
    result = chosen(optimizer=OptimizerName.SGD, optimizer_arguments=(("momentum", 0.5),))
    assert result.optimizer is not None
    assert result.optimizer.defaults["momentum"] == 0.5
    assert result.optimizer.defaults["lr"] == 0.01


@pytest.mark.parametrize(
    ("build", "config", "words"),
    [
        pytest.param(
            None,
            {"optimizer": OptimizerName.SGD, "optimizer_arguments": (("beta", 1),)},
            "sgd has no argument 'beta'; it has lr, momentum",
            id="unknown",
        ),
        pytest.param(
            None,
            {"optimizer": OptimizerName.ADAM, "optimizer_arguments": (("lr", -1.0),)},
            "adam refuses lr=-1.0",
            id="refused",
        ),
        pytest.param(
            None,
            {"optimizer": OptimizerName.NONE, "optimizer_arguments": (("lr", 1.0),)},
            "none takes no arguments",
            id="none",
        ),
        pytest.param(
            torch.optim.Adagrad,
            {"optimizer_arguments": (("lr", 1.0),)},
            r"\(lr\) need an optimizer by name",
            id="build-optimizer",
        ),
    ],
)
def test_arguments_that_do_not_belong(build: Any, config: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        chosen(build, **config)


def test_no_trainable_parameter() -> None:
    model = nn.Linear(2, 2).requires_grad_(False)
    with pytest.raises(ModelError, match="no trainable parameter"):
        chosen(model=model)
    with pytest.raises(ModelError, match="--mode infer"):
        chosen(model=nn.Identity())


def test_something_else_than_an_optimizer() -> None:
    with pytest.raises(ModelError, match=r"returned a NoneType without step\(\)"):
        chosen(lambda parameters: None)
    with pytest.raises(ModelError, match=r"returned a tuple without step\(\)"):
        chosen(lambda parameters: (None, None))
    with pytest.raises(ModelError, match=r"a tuple with a Linear in it, without step\(\)"):
        chosen(lambda parameters: (torch.optim.SGD(parameters), nn.Linear(1, 1)))


def halves(parameters: Any, model: Any) -> Any:
    return {name: torch.optim.Adam(part.parameters()) for name, part in model.named_children()}


def test_several_optimizers_are_kept_as_they_were_given() -> None:
    model = nn.ModuleDict({"a": nn.Linear(2, 2), "b": nn.Linear(2, 2)})
    result = chosen(halves, model)
    assert result.name == "2 x Adam"
    assert result.optimizer is not None
    assert list(result.optimizer) == ["a", "b"]
    assert result.optimizer["b"].param_groups[0]["params"][0] is model["b"].weight


def test_schedulers_may_stand_beside() -> None:
    def build(parameters: Any) -> Any:
        optimizer = torch.optim.SGD(parameters)
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 10), None]

    assert chosen(build).name == "SGD"


@pytest.mark.parametrize(
    "build",
    [
        lambda model: torch.optim.SGD(model.parameters()),
        lambda model, lr=0.1: torch.optim.SGD(model.parameters(), lr),
        lambda model, parameters: torch.optim.SGD(
            [{"params": parameters}] if model.weight is parameters[0] else []
        ),
        lambda parameters, *, model: torch.optim.SGD([*parameters[:1], model.bias]),
        lambda params, model: torch.optim.SGD([*params[:1], model.bias]),
        lambda parameters=None, model=None: torch.optim.SGD([*parameters[:1], model.bias]),
    ],
)
def test_a_parameter_named_model_is_the_model(build: Any) -> None:
    model = nn.Linear(2, 2)
    result = chosen(build, model)
    assert result.optimizer is not None
    trained = result.optimizer.param_groups[0]["params"]
    assert [one is own for one, own in zip(trained, model.parameters(), strict=True)] == [True] * 2
