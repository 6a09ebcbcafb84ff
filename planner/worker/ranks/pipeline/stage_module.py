"""The stages of one rank, made of the user's model: each runs the part of its forward that it has.

In: the model, its Chain, the stages of the rank. Out: StageModules. Convention: the model's own
forward is run for each micro-batch. The block before a stage answers with what was received, what
comes earlier with tensors without memory, and the last block of a stage ends the forward.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_map_only

from planner.worker.model.layout import thin
from planner.worker.model.tensors import tensor_leaves
from planner.worker.ranks.pipeline.chain import Call, Chain, Layout
from planner.worker.ranks.pipeline.split import Stage

_ROLE = "_planner_role"


@dataclass(slots=True, kw_only=True)
class Route:
    """Where in the model a forward is; without a stage, the model is as it was."""

    chain: Chain
    device: torch.device
    stage: Stage | None = None
    received: torch.Tensor | None = None
    calls: Counter[str] = field(default_factory=Counter)

    @contextmanager
    def through(self, stage: Stage, received: torch.Tensor | None) -> Iterator[None]:
        """Is a forward of one stage."""
        self.stage, self.received = stage, received
        self.calls.clear()
        try:
            yield
        finally:
            self.stage = self.received = None

    def stand_in(self, output: Any) -> Any:
        """Returns an output without memory."""
        return tree_map_only(Layout, lambda one: one.stand_in(self.device), output)

    def answer(self, block: int) -> Any:
        """Returns what was received in the form of a block's output."""
        received, self.received = self.received, None
        return tree_map_only(Layout, lambda _: received, self.chain.outputs[block])


class StageModule(nn.Module):
    """One stage: `run` calls the model with a micro-batch; its parts are those of the stage."""

    def __init__(self, parts: list[nn.Module], own: list[nn.Parameter], stage: Stage) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)
        self.own = nn.ParameterList(own)
        self.stage = stage
        self.run: Callable[[], Any] | None = None
        self.route: Route | None = None

    def forward(self, *received: torch.Tensor) -> Any:
        """Takes what the stage before sends, and returns what the next one gets."""
        assert self.run is not None, "the pipeline has begun"
        assert self.route is not None, "the pipeline has begun"
        with self.route.through(self.stage, received[0] if received else None):
            try:
                return self.run()
            except _StageEndError as end:
                return end.hidden


class _StageEndError(Exception):
    """The last block of a stage has run: an Exception, so that hooks of modules see the end."""

    def __init__(self, hidden: torch.Tensor) -> None:
        super().__init__()
        self.hidden = hidden


def stage_modules(
    model: nn.Module, chain: Chain, stages: tuple[Stage, ...], device: torch.device
) -> list[StageModule]:
    """Takes from `model` what other ranks have, and returns the stages of this one."""
    held = {
        name
        for name, slots in chain.users.items()
        if any(stage.first <= slot <= stage.last for stage in stages for slot in slots)
    }
    modules = dict(model.named_modules())
    found = [_stage_module(model, modules, chain, stage, held) for stage in stages]
    _drop(model, chain, held, device)
    return found


def _stage_module(
    model: nn.Module,
    modules: dict[str, nn.Module],
    chain: Chain,
    stage: Stage,
    held: set[str],
) -> StageModule:
    mine = {
        id(parameter)
        for name, parameter in model.named_parameters()
        if name in held and any(stage.first <= slot <= stage.last for slot in chain.users[name])
    }
    called = [one.module for one in chain.calls if stage.first <= one.slot <= stage.last]
    names = dict.fromkeys((*chain.blocks[stage.first : stage.last + 1], *called))
    parts = [modules[name] for name in names]
    parts = [one for one in parts if any(id(each) in mine for each in one.parameters())]
    covered = {id(each) for one in parts for each in one.parameters()}
    own = [one for one in model.parameters() if id(one) in mine - covered]
    return StageModule(parts, own, stage)


def _drop(model: nn.Module, chain: Chain, held: set[str], device: torch.device) -> None:
    """Takes away parameters that no stage of this rank uses, and buffers of emptied modules."""
    names = {id(one): name for name, one in model.named_parameters()}
    for module in model.modules():
        placed = [
            (key, one, names[id(one)]) for key, one in module._parameters.items() if one is not None
        ]
        gone = [entry for entry in placed if entry[2] not in held]
        for key, one, name in gone:
            if name in chain.loose:  # code beside the modules reads it
                del module._parameters[key]
                module.__dict__[key] = thin(one.shape, one.dtype, device)
            else:
                module._parameters[key] = None
        if gone and len(gone) == len(placed):
            for key in module._buffers:
                module._buffers[key] = None


def direct(
    model: nn.Module, chain: Chain, stages: tuple[Stage, ...], device: torch.device
) -> Route:
    """Lets calls of the model's parts follow a Route; returns it.

    To be called once the parts have all that wraps them.
    """
    route = Route(chain=chain, device=device)
    modules = dict(model.named_modules())
    for number, name in enumerate(chain.blocks):
        _give_role(modules[name], _block_role(route, number))
    latest = max(stage.first for stage in stages)
    by_module: dict[str, list[Call]] = {}
    for call in chain.calls:
        by_module.setdefault(call.module, []).append(call)
    for name, calls in by_module.items():
        if any(call.slot < latest for call in calls):
            had_parameters = any(one.startswith(f"{name}.") for one in chain.users)
            if had_parameters or _is_like_hidden(chain, calls):
                _give_role(modules[name], _other_role(route, name, calls))
    return route


def _is_like_hidden(chain: Chain, calls: list[Call]) -> bool:
    """Returns whether all that a module returns is as large as what goes from block to block."""
    hidden = chain.hidden(0)
    return all(
        isinstance(call.output, Layout)
        and call.output.shape == hidden.shape
        and call.output.dtype.is_floating_point
        for call in calls
    )


def _block_role(route: Route, number: int) -> Callable[..., Any]:
    def role(call: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        stage = route.stage
        if stage is None:
            return call(*args, **kwargs)
        if number < stage.first - 1:
            return route.stand_in(route.chain.outputs[number])
        if number == stage.first - 1:
            return route.answer(number)
        if number != stage.last or stage.is_last:
            return call(*args, **kwargs)
        raise _StageEndError(tensor_leaves(call(*args, **kwargs))[0])

    return role


def _other_role(route: Route, name: str, calls: list[Call]) -> Callable[..., Any]:
    def role(call: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        if route.stage is None:
            return call(*args, **kwargs)
        before = calls[min(route.calls[name], len(calls) - 1)]
        route.calls[name] += 1
        if before.slot < route.stage.first:
            return route.stand_in(before.output)
        return call(*args, **kwargs)

    return role


def _give_role(module: nn.Module, role: Callable[..., Any]) -> None:
    module.__dict__[_ROLE] = role
    module.__class__ = _routed(type(module))


class _Routed:
    """Asks the role of a module at each call, outside of its hooks and of checkpointing."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        call: Any = super().__call__  # type: ignore[misc] # of the module's class
        return self.__dict__[_ROLE](call, args, kwargs)


_CLASSES: dict[type[nn.Module], type[nn.Module]] = {}


def _routed(kind: type[nn.Module]) -> type[nn.Module]:
    """Returns a class like `kind`, under its name."""
    if kind not in _CLASSES:
        own = {"__module__": kind.__module__}
        _CLASSES[kind] = type(kind.__name__, (_Routed, kind), own)
    return _CLASSES[kind]
