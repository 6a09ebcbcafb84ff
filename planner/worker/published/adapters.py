"""Adapters of low rank on a model, by peft; and parameters that are kept frozen.

In: a model without weights, TaskConfig. Out: the model with adapters, and sentences. Convention:
what the caller leaves open is peft's own default.
"""

from __future__ import annotations

import fnmatch
from typing import Any

import torch
from torch import nn

from planner.config.published import TaskConfig
from planner.errors import UsageError, WrongTargetError

_ALL_LINEAR = "all-linear"


def import_peft() -> None:
    """Imports peft before the runs, because each of them would import it again."""
    import peft.tuners.lora  # noqa: F401


def usual_targets(of_type: str) -> tuple[str, ...]:
    """Returns the modules that get adapters where the caller names none.

    They are those of peft for this type of model; peft has none for some, and then all linear
    layers get them.
    """
    from peft.utils import constants

    known = constants.TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING.get(of_type)
    if known is None:
        return (_ALL_LINEAR,)
    return tuple(known) if isinstance(known, (list, tuple)) else (str(known),)


def adapter_words(
    task: TaskConfig, targets: tuple[str, ...], default: str = "peft's default"
) -> str:
    """Returns a sentence on the adapters of a task; `default` says whose default modules are."""
    from peft import LoraConfig

    rank = task.lora_rank or f"{LoraConfig().r} (peft's default)"
    chosen = ""
    if not task.lora_targets:
        has_none = targets == (_ALL_LINEAR,)
        chosen = ", as peft has no default for the model" if has_none else f" ({default})"
    return f"adapters of rank {rank} on {', '.join(targets)}{chosen}; the other weights are frozen"


def with_adapters(
    model: nn.Module,
    task: TaskConfig,
    *,
    peft_task: str | None,
    targets: tuple[str, ...],
    in_bfloat16: bool = False,
) -> nn.Module:
    """Returns the model with adapters beside its frozen weights, on the modules of these names.

    Adapters are float32 beside 16-bit weights, as peft makes them, or bfloat16.

    Raises:
        WrongTargetError: no module has a given name, or peft takes none of that kind.
    """
    import peft

    options: dict[str, Any] = {"task_type": peft_task}
    if task.lora_rank is not None:
        options["r"] = task.lora_rank
    if task.lora_alpha is not None:
        options["lora_alpha"] = task.lora_alpha
    if targets:
        options["target_modules"] = _ALL_LINEAR if targets == (_ALL_LINEAR,) else list(targets)
    config = peft.LoraConfig(**options)
    try:
        adapted: nn.Module = peft.get_peft_model(model, config)
    except ValueError as error:
        raise WrongTargetError(
            f"peft puts no adapters on {type(model).__name__}: {error}; name modules as in "
            f"--lora-targets q_proj,v_proj, or --lora-targets {_ALL_LINEAR}"
        ) from None
    if in_bfloat16:
        for parameter in adapted.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.to(torch.bfloat16)
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
