"""The running module of the model: each call is marked in torch's profile.

In: the model, and the calls of its modules. Out: ModuleCall records; the profile has a range named
`mark(i)` around call i. Convention: no hook keeps a tensor, and a module that is not part of the
model is passed over.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch._C._profiler import _RecordFunctionFast
from torch.nn.modules.module import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
)

from planner.worker.model.compiled import plain_path
from planner.worker.target.source_lines import of_caller

_MARK = "planner module call "


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleCall:
    """One call: the module's dotted path and the line that called it."""

    path: str
    source: str


def mark(number: int) -> str:
    """Returns the name of the range around call `number` in the profile."""
    return f"{_MARK}{number}"


def marked(name: str) -> int | None:
    """Returns the number in a name made by `mark`; None for any other."""
    return int(name[len(_MARK) :]) if name.startswith(_MARK) else None


class ModuleCalls:
    """Marks the calls between `start` and `stop`; `on_root(True)`: the model's own call begins."""

    def __init__(self, model: nn.Module, on_root: Callable[[bool], None]) -> None:
        self.calls: list[ModuleCall] = []
        self._model = model
        self._paths = {id(module): plain_path(path) for path, module in model.named_modules()}
        self._on_root = on_root
        self._open: list[tuple[int, Any]] = []
        self._hooks: list[Any] = []

    def add_model(self, model: nn.Module, path: str) -> None:
        """Marks the calls of a further model too; its modules are named below `path`."""
        for name, module in model.named_modules(prefix=path):
            self._paths.setdefault(id(module), plain_path(name))

    def start(self) -> None:
        """Starts the marking of calls."""
        # The wrapper of torch.compile is called as a module too: that is wanted here.
        warnings.filterwarnings(
            "ignore", message=r"Using `torch\.compile\(module\)` when there are"
        )
        self._hooks = [
            register_module_forward_pre_hook(self._before),
            register_module_forward_hook(self._after, always_call=True),
        ]

    def stop(self) -> None:
        """Ends the marking of calls."""
        while self._hooks:
            self._hooks.pop().remove()

    def _before(self, module: nn.Module, args: Any) -> None:
        if torch.compiler.is_compiling():
            return  # a hook is traced with the module: compiled code must not contain it
        path = self._paths.get(id(module))
        if path is None:
            return
        if module is self._model:
            self._on_root(True)
        call = _RecordFunctionFast(mark(len(self.calls)))
        self.calls.append(ModuleCall(path=path, source=of_caller()))
        call.__enter__()
        self._open.append((id(module), call))

    def _after(self, module: nn.Module, args: Any, output: Any) -> None:
        if torch.compiler.is_compiling():
            return
        # a checkpoint leaves its recomputation early, by an exception: outer calls end with it
        if not any(opened == id(module) for opened, _ in self._open):
            return
        while self._open:
            opened, call = self._open.pop()
            call.__exit__(None, None, None)
            if opened == id(module):
                break
        if module is self._model:
            self._on_root(False)
