"""Adapters of low rank on a model, by peft; and parameters that are kept frozen.

In: a model without weights, TaskConfig. Out: the model with adapters, and sentences. Convention:
what the caller leaves open is peft's own default.
"""

from __future__ import annotations

import fnmatch
from typing import Any

from torch import nn

from planner.config.published import TaskConfig
from planner.errors import UsageError, WrongTargetError

_ALL_LINEAR = "all-linear"


def import_peft() -> None:
    """Imports peft before the runs, because each of them would import it again."""
    import peft.tuners.lora  # noqa: F401


def with_adapters(
    model: nn.Module,
    task: TaskConfig,
    *,
    peft_task: str | None,
    in_float32: bool,
    usual_targets: tuple[str, ...] = (),
) -> nn.Module:
    """Returns the model with adapters beside its frozen weights.

    `usual_targets` are the modules with adapters where the caller names none; none: peft's own.

    Raises:
        WrongTargetError: peft has no default for the model, or no module has a given name.
    """
    import peft

    options: dict[str, Any] = {"task_type": peft_task}
    if task.lora_rank is not None:
        options["r"] = task.lora_rank
    if task.lora_alpha is not None:
        options["lora_alpha"] = task.lora_alpha
    if task.lora_targets or usual_targets:
        targets = list(task.lora_targets or usual_targets)
        options["target_modules"] = _ALL_LINEAR if targets == [_ALL_LINEAR] else targets
    config = peft.LoraConfig(**options)
    try:
        adapted: nn.Module = peft.get_peft_model(
            model, config, autocast_adapter_dtype=in_float32
        )
    except ValueError as error:
        raise WrongTargetError(
            f"peft puts no adapters on {type(model).__name__}: {error}; name modules as in "
            f"--lora-targets q_proj,v_proj, or --lora-targets {_ALL_LINEAR}"
        ) from None
    return adapted


def freeze(model: nn.Module, patterns: tuple[str, ...]) -> None:
    """Switches requires_grad off for the parameters that one of the patterns names.

    Raises:
        UsageError: a pattern names none.
    """
    names = dict(model.named_parameters())
    for pattern in patterns:
        found = fnmatch.filter(names, pattern) or fnmatch.filter(names, f"{pattern}.*")
        if not found:
            shown = ", ".join(list(names)[:3])
            raise UsageError(
                f"--freeze {pattern}: no parameter has such a name; there are {shown}, ..."
            )
        for name in found:
            names[name].requires_grad_(False)
