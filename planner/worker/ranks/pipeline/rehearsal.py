"""Follows one micro-batch through a whole model without weights: its blocks, and what uses what.

In: ModelSource, StepConfig, device. Out: Chain. Convention: parameters are tensors without strides,
so that the largest model takes no memory, and nothing is kept for a backward; the card is given
back before the run begins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map_only
from torch.utils.weak import WeakIdKeyDictionary

from planner.config.step import StepConfig
from planner.errors import ModelError, PlannerError, UsageError
from planner.worker.drive import forward
from planner.worker.drive.batch import plan_batch
from planner.worker.engines import peaks
from planner.worker.model import compiled, meta, precision
from planner.worker.model.checkpointing import repeated_blocks
from planner.worker.model.layout import thin
from planner.worker.model.tensors import tensor_leaves
from planner.worker.ranks.pipeline.calls import CalledModel
from planner.worker.ranks.pipeline.chain import OTHERWISE, Call, Chain, hidden_of, layout_of
from planner.worker.target.frames import describe, user_frames
from planner.worker.target.source import ModelSource, owns_step


def rehearsed(source: ModelSource, config: StepConfig, device: torch.device) -> Chain:
    """Returns the way of a micro-batch through the model of `source`.

    Raises:
        UsageError: the model has no chain of blocks that can be cut.
        ModelError: its code failed.
    """
    if source.training_step is not None and owns_step(source.training_step):
        raise UsageError(
            "pp (--parallel) runs forward and backward itself, and training_step(model, batch, "
            "optimizers) does the whole step: let it return a loss, or " + OTHERWISE
        )
    try:
        return _rehearsed(source, config, device)
    except PlannerError:
        raise
    except Exception as error:
        raise ModelError(
            "the blocks of the model could not be followed for pp (--parallel): "
            f"{describe(error)}; {OTHERWISE}",
            user_frames(error),
        ) from error
    finally:
        peaks.release(device)


def _rehearsed(source: ModelSource, config: StepConfig, device: torch.device) -> Chain:
    with meta.parameters_on_meta():
        model = source.build_model()
    precision.cast_model(model, config, keep_dtypes=source.settles_dtypes)
    if compiled.has_compiled_parts(model):
        raise UsageError(
            "pp (--parallel) and a compiled model: leave torch.compile out for this question, or "
            + OTHERWISE
        )
    model.train()
    batch = plan_batch(source, config, device).make()
    walk = _Walk(model)
    with ExitStack() as entered:
        entered.enter_context(_weightless(model, device))
        entered.enter_context(walk.watching())
        entered.enter_context(torch.autograd.graph.saved_tensors_hooks(_nothing, _nothing))
        entered.enter_context(precision.autocast(config, device)())
        torch.set_autocast_cache_enabled(False)
        entered.callback(torch.set_autocast_cache_enabled, True)
        if source.training_step is None:
            forward.call(model, batch, forward.required_inputs(model))
        else:
            called = CalledModel(model, model)
            source.training_step(called, batch)
            called.check_once()
    return walk.chain()


def _nothing(_: Any) -> Any:
    """Keeps nothing of a tensor that is saved for a backward."""


@contextmanager
def _weightless(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Gives the model parameters on the card that have no memory, within the context."""
    parameters = [(module, dict(module._parameters)) for module in model.modules()]
    buffers = [(module, dict(module._buffers)) for module in model.modules()]
    made: dict[int, nn.Parameter] = {}
    for module, named in parameters:
        for name, one in named.items():
            if one is None:
                continue
            if id(one) not in made:
                made[id(one)] = nn.Parameter(
                    thin(one.shape, one.dtype, device), requires_grad=one.requires_grad
                )
            module._parameters[name] = made[id(one)]
    for module, held in buffers:
        for name, buffer in held.items():
            if buffer is not None:
                module._buffers[name] = (
                    torch.zeros(buffer.shape, dtype=buffer.dtype, device=device)
                    if buffer.device.type == "meta"
                    else buffer.to(device)
                )
    try:
        yield
    finally:
        for module, named in parameters:
            module._parameters.update(named)
        for module, held in buffers:
            module._buffers.update(held)


@dataclass(slots=True)
class _Walk:
    """Watches a forward: blocks in order, other modules that are called, uses of parameters."""

    model: nn.Module
    order: list[str] = field(default_factory=list)
    outputs: list[Any] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    users: dict[str, set[int]] = field(default_factory=dict)
    loose: set[str] = field(default_factory=set)
    inside: nn.Module | None = None
    names: dict[int, str] = field(default_factory=dict)
    given: Any = field(default_factory=WeakIdKeyDictionary)  # output of a block -> its number

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watches what happens within the context."""
        modules = dict(self.model.named_modules())
        blocks = {id(block) for block in repeated_blocks(self.model)}
        holders = {
            id(module)
            for module in modules.values()
            if any(id(part) in blocks for part in module.modules()) and id(module) not in blocks
        }
        self.names = {id(one): name for name, one in self.model.named_parameters()}
        with ExitStack() as entered:
            for name, module in modules.items():
                if id(module) in holders:
                    continue
                enter = self._enter(name, is_block=id(module) in blocks)
                leave = self._leave(name, is_block=id(module) in blocks)
                for handle in (
                    module.register_forward_pre_hook(enter, with_kwargs=True),
                    module.register_forward_hook(leave),
                ):
                    entered.callback(handle.remove)
            entered.enter_context(_Uses(self))
            yield

    def chain(self) -> Chain:
        """Returns what was seen."""
        last = max(0, len(self.order) - 1)
        every = {name for name, _ in self.model.named_parameters()}
        return Chain(
            blocks=tuple(self.order),
            outputs=tuple(self.outputs),
            calls=tuple(
                Call(module=one.module, slot=min(one.slot, last), output=one.output)
                for one in self.calls
            ),
            users={
                name: frozenset(min(slot, last) for slot in self.users.get(name, {0}))
                for name in every
            },
            loose=frozenset(self.loose),
        )

    def _enter(self, name: str, *, is_block: bool) -> Callable[..., None]:
        def enter(module: nn.Module, args: Any, kwargs: Any) -> None:
            if self.inside is not None:
                return
            self.inside = module
            if is_block:
                self._check(name, (args, kwargs))
                self.order.append(name)

        return enter

    def _leave(self, name: str, *, is_block: bool) -> Callable[..., None]:
        def leave(module: nn.Module, _: Any, output: Any) -> None:
            if self.inside is not module:
                return
            self.inside = None
            layouts = tree_map_only(torch.Tensor, layout_of, output)
            if not is_block:
                call = Call(module=name, slot=len(self.outputs), output=layouts)
                self.calls.append(call)
                return
            hidden_of(layouts, name)
            for tensor in tensor_leaves(output):
                self.given[tensor] = len(self.outputs)
            self.outputs.append(layouts)

        return leave

    def _check(self, name: str, inputs: Any) -> None:
        """Refuses a block that cannot be the first of a stage."""
        if name in self.order:
            raise UsageError(
                f"pp (--parallel) divides blocks that are called once, and the model calls {name} "
                "several times in a forward: " + OTHERWISE
            )
        if not self.order:
            return
        tensors = {id(one): one for one in tensor_leaves(inputs)}
        number = sum(one.requires_grad for one in tensors.values())
        if number > 1:
            raise UsageError(
                f"pp (--parallel) sends one tensor from block to block, and {name} gets {number} "
                "tensors that need a gradient: " + OTHERWISE
            )
        self.check_use(tensors.values())

    def check_use(self, tensors: Any) -> None:
        """Refuses the use of a block's output after the next one."""
        before = len(self.order) - 1
        for tensor in tensors:
            number = self.given.get(tensor)
            if number is not None and number < len(self.outputs) - 1:
                raise UsageError(
                    f"pp (--parallel) sends what a block returns to the next one, and the model "
                    f"uses what {self.order[number]} returns after {self.order[before]} too: "
                    + OTHERWISE
                )

    def note_use(self, tensor: torch.Tensor) -> None:
        """Notes the use of a parameter."""
        name = self.names.get(id(tensor))
        if name is None:
            return
        self.users.setdefault(name, set()).add(len(self.outputs))
        if self.inside is None:
            self.loose.add(name)


class _Uses(TorchFunctionMode):
    """Tells a walk which tensors the functions of torch compute with."""

    def __init__(self, walk: _Walk) -> None:
        super().__init__()
        self._walk = walk

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Calls the function; what returns no tensor, like a shape, is no use."""
        result = func(*args, **(kwargs or {}))
        if tensor_leaves(result):
            used = tensor_leaves((args, kwargs))
            for tensor in used:
                self._walk.note_use(tensor)
            if self._walk.inside is None:
                self._walk.check_use(used)
        return result
