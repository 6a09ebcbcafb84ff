"""The module that is running: known from hooks, or from the nodes of the model's torch.fx graph.

In: a model. Out: ModulePath, whose `current` is the path of the innermost module. Convention: a
module that is registered in several places has the path of the first one.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import fx, nn


def takes_hooks(module: nn.Module) -> bool:
    """Returns whether a module can be watched: a scripted one cannot."""
    return not isinstance(module, torch.jit.ScriptModule)


class ModulePath:
    """The path of the module that runs at this moment."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._stack = [""]

    @property
    def current(self) -> str:
        """Path of the innermost module that runs; "" is the model."""
        return self._stack[-1]

    @contextmanager
    def within(self, path: str) -> Iterator[None]:
        """Makes `path` the current module within the context."""
        self._stack.append(path)
        try:
            yield
        finally:
            self._stack.pop()

    @contextmanager
    def hooked(self) -> Iterator[None]:
        """Follows the begin and end of modules within the context."""
        handles: list[Any] = []

        def watch(module: nn.Module, name: str) -> None:
            def enter(*_: Any) -> None:
                self._stack.append(name)

            def leave(*_: Any) -> None:
                self._stack.pop()

            handles.append(module.register_forward_pre_hook(enter))
            handles.append(module.register_forward_hook(leave, always_call=True))

        try:
            for name, module in self._model.named_modules():
                if takes_hooks(module):
                    watch(module, name)
            yield
        finally:
            for handle in handles:
                handle.remove()


class FxRun:
    """The forward of a model as the run of its torch.fx graph, node by node."""

    def __init__(
        self, model: nn.Module, arguments: tuple[Any, ...], keywords: Mapping[str, Any]
    ) -> None:
        """Traces `model` symbolically for this call.

        Raises:
            Exception: whatever symbolic tracing raises, which runs the user's code.
        """
        bound = inspect.signature(model.forward).bind(*arguments, **keywords)
        bound.apply_defaults()
        kinds = {parameter.kind for parameter in bound.signature.parameters.values()}
        if kinds & {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}:
            raise TypeError("forward takes *args or **kwargs")
        values = bound.arguments
        fixed = {
            name: value for name, value in values.items() if not isinstance(value, torch.Tensor)
        }
        self._values = tuple(values.values())
        self._graph = fx.symbolic_trace(model, concrete_args=fixed or None)

    def __call__(self, path: ModulePath) -> Any:
        """Runs the graph; `path` follows it."""
        return _ByNode(self._graph, path).run(*self._values)


class _ByNode(fx.Interpreter):
    """Runs each node under the path of the module whose forward it was traced from."""

    def __init__(self, graph: fx.GraphModule, path: ModulePath) -> None:
        super().__init__(graph)
        self._path = path

    def run_node(self, n: fx.Node) -> Any:
        stack = n.meta.get("nn_module_stack") or {}
        innermost = next(reversed(stack.values()), ("",))[0]
        with self._path.within(innermost):
            return super().run_node(n)
