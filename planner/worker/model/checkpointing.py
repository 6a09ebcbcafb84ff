"""Activation checkpointing: the model's own switch where it has one, else block by block.

Where some of the blocks are chosen, it is block by block; layers of transformers that checkpoint
their own forward are switched one by one.

In: the model on the card. Out: the same model, checkpointed, and how it was done. Convention: only
`forward` of a block is wrapped, so names in state_dict stay.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint

from planner.config.levers import ALL_BLOCKS
from planner.worker.model.checkpointed_blocks import chosen_blocks

_LAYER = "GradientCheckpointingLayer"  # of transformers; its switch is an attribute
_OF_A_LAYER = "gradient_checkpointing"
_SWITCHES = ("checkpoint_activations", "gradient_checkpointing")
# above this share of a block's parameters, the chain inside the block is what repeats
_NESTED_SHARE = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Notes:
    """Sentences on the checkpointing, for the report."""

    assumptions: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def checkpoint_activations(
    model: nn.Module,
    switch: Callable[[nn.Module], str] | None = None,
    blocks: str | None = None,
) -> Notes:
    """Switches activation checkpointing on in `model`, by `switch` where the target has one.

    `blocks` chooses some of the repeated blocks, in the words of StepConfig.checkpoint_blocks.

    Raises:
        UsageError: the model has no such blocks.
    """
    if blocks is not None and blocks != ALL_BLOCKS:
        return _checkpoint_some(model, switch, blocks)
    used = _own_switch(model) if switch is None else switch(model)
    if used is not None:
        return _noted(f"activation checkpointing: {used}")
    found = repeated_blocks(model)
    if not found:
        return Notes(
            warnings=(
                "activation checkpointing was asked for, but the model has no switch for it and "
                "no repeated blocks in an nn.Sequential or nn.ModuleList: nothing is checkpointed",
            )
        )
    for block in found:
        block.forward = _checkpointed(block.forward)
    return _noted(f"activation checkpointing: per block ({_kinds(found)})")


def _checkpoint_some(
    model: nn.Module, switch: Callable[[nn.Module], str] | None, blocks: str
) -> Notes:
    every = repeated_blocks(model)
    chosen = chosen_blocks(model, every, blocks)
    layers = [module for module in model.modules() if _switches_itself(module)]
    if any(module in layers for module in chosen.values()):
        (_own_switch if switch is None else switch)(model)
        for module in model.modules():
            holds_layers = any(part in layers for part in module.modules())
            if getattr(module, _OF_A_LAYER, False) is True and not holds_layers:
                setattr(module, _OF_A_LAYER, False)
    for layer in layers:
        setattr(layer, _OF_A_LAYER, layer in chosen.values())
    for module in chosen.values():
        if module not in layers:
            module.forward = _checkpointed(module.forward)
    first, *more = chosen
    names = first if not more else f"{first} to {more[-1]}"
    return _noted(
        f"activation checkpointing: {len(chosen)} modules by {blocks!r} "
        f"({_kinds(list(chosen.values()))}; {names}); the model has {len(every)} repeated blocks"
    )


def _switches_itself(module: nn.Module) -> bool:
    """Returns whether the module is a layer of transformers that checkpoints its own forward."""
    return any(base.__name__ == _LAYER for base in type(module).__mro__)


def _kinds(blocks: list[nn.Module]) -> str:
    kinds = Counter(type(block).__name__ for block in blocks)
    return ", ".join(f"{number} x {name}" for name, number in kinds.items())


def _noted(text: str) -> Notes:
    return Notes(assumptions=(text,), notes=(text,))


def repeated_blocks(model: nn.Module) -> list[nn.Module]:
    """Returns modules of one class that follow each other, in order of the model's definition."""
    blocks: list[nn.Module] = []
    chain = _chain(model)
    for child in model.children():
        blocks += _within(child) if child in chain else repeated_blocks(child)
    return list(dict.fromkeys(blocks))


def _chain(module: nn.Module) -> list[nn.Module]:
    """Returns a container's children with several weights whose class occurs more than once."""
    if not isinstance(module, (nn.Sequential, nn.ModuleList, nn.ModuleDict)):
        return []
    blocks = [child for child in module.children() if _matrices(child) > 1]
    number = Counter(type(child) for child in blocks)
    return [child for child in blocks if number[type(child)] > 1]


def _matrices(module: nn.Module) -> int:
    """Counts weights of two dimensions or more; with one, a block saves only its input anyway."""
    return sum(parameter.dim() > 1 for parameter in module.parameters())


def _within(item: nn.Module) -> list[nn.Module]:
    """Returns the block itself, or the blocks of the chain that makes up most of it (a stage)."""
    nested = repeated_blocks(item)
    if not _has_forward(item):
        return nested
    share = sum(_size(block) for block in nested)
    return nested if share > _NESTED_SHARE * _size(item) else [item]


def _size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _has_forward(module: nn.Module) -> bool:
    return type(module).forward is not nn.Module.forward


def _own_switch(model: nn.Module) -> str | None:
    """Uses the model's own switch; returns its name, or None if there is none that works."""
    try:
        if callable(getattr(model, "gradient_checkpointing_enable", None)):
            model.gradient_checkpointing_enable()  # type: ignore[operator]  # transformers
            return "the model's gradient_checkpointing_enable()"
        if callable(getattr(model, "enable_gradient_checkpointing", None)):
            model.enable_gradient_checkpointing()  # type: ignore[operator]  # diffusers
            return "the model's enable_gradient_checkpointing()"
        if callable(getattr(model, "set_grad_checkpointing", None)):
            model.set_grad_checkpointing(True)  # type: ignore[operator]  # timm
            return "the model's set_grad_checkpointing(True)"
    except (AssertionError, NotImplementedError, TypeError, ValueError):
        return None  # the class has the method, and this model does not support it
    for name in _SWITCHES:
        switch = getattr(model, name, None)
        if callable(switch) and not isinstance(switch, nn.Module):
            switch()
            return f"the model's {name}()"
        switched = [module for module in model.modules() if getattr(module, name, None) is False]
        for module in switched:
            setattr(module, name, True)
        if switched or switch is True:
            return f"the model's attribute {name}"
    return None


def _checkpointed(forward: Callable[..., Any]) -> Callable[..., Any]:
    def checkpointed(*args: Any, **kwargs: Any) -> Any:
        # the recomputation must see a list as it is now, whatever the caller appends to it later
        args = tuple(list(value) if type(value) is list else value for value in args)
        return checkpoint(forward, *args, use_reentrant=False, **kwargs)

    return checkpointed
