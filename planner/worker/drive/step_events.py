"""The phases of a step that the user's own function makes, detected while it runs.

In: a Watch, and code that runs within the context. Out: its marks. Convention: a backward is
BACKWARD; then, and from every optimizer's step on, the phase is OPTIMIZER_STEP, until a module's
forward or forward_begins(). A backward in a backward (a checkpoint's) is part of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.optim.optimizer import register_optimizer_step_pre_hook

from planner.wire.trace import Phase
from planner.worker.record.watch import Watch

Around = Callable[[], AbstractContextManager[object]]


@contextmanager
def step_events(watch: Watch, around_backward: Around = nullcontext) -> Iterator[None]:
    """Reports the phases of the code within the context to `watch`.

    `around_backward` makes a context in which each backward runs.
    """
    global _running
    events, outer = _Events(watch, around_backward), _running
    autograd: Any = torch.autograd
    original = autograd.backward  # Tensor.backward looks it up there
    stepping: Any = register_optimizer_step_pre_hook(events.stepping)
    autograd.backward = events.watched(original)
    _running = events
    try:
        yield
    finally:
        _running = outer
        autograd.backward = original
        stepping.remove()
        events.end()


@contextmanager
def optimizers_noted(watch: Watch) -> Iterator[None]:
    """Reports every optimizer that steps within the context to `watch`."""

    def stepping(optimizer: Any, *_: Any) -> None:
        watch.stepped(optimizer, by_user=False)

    handle: Any = register_optimizer_step_pre_hook(stepping)
    try:
        yield
    finally:
        handle.remove()


def forward_begins() -> None:
    """Reports that a forward begins although no module does: within an optimizer's closure."""
    if _running is not None:
        _running.forward()


class _Events:
    def __init__(self, watch: Watch, around_backward: Around) -> None:
        self._watch = watch
        self._around_backward = around_backward
        self._in_backward = False
        self._waiting: Any = None  # for a module's forward, which is slower with such a hook

    def watched(self, backward: Callable[..., Any]) -> Callable[..., Any]:
        """Returns torch.autograd.backward with marks at its begin and its end."""

        def watched_backward(*args: Any, **kwargs: Any) -> Any:
            if self._in_backward:
                return backward(*args, **kwargs)
            self._in_backward = True
            self._watch.enter(Phase.BACKWARD)
            try:
                with self._around_backward():
                    backward(*args, **kwargs)
            finally:
                self._in_backward = False
            self._between()
            return None

        return watched_backward

    def stepping(self, optimizer: Any, *_: Any) -> None:
        """Reports that an optimizer begins its step."""
        self._watch.stepped(optimizer, by_user=True)
        if not self._in_backward:  # a hook of a gradient may step it
            self._between()

    def forward(self, *_: Any) -> None:
        """Reports that a forward begins."""
        if self._waiting is not None and not self._in_backward:
            self.end()
            self._watch.enter(Phase.FORWARD)

    def end(self) -> None:
        """Stops waiting for a forward."""
        if self._waiting is not None:
            self._waiting.remove()
            self._waiting = None

    def _between(self) -> None:
        self._watch.enter(Phase.OPTIMIZER_STEP)
        if self._waiting is None:
            self._waiting = register_module_forward_pre_hook(self._module)

    def _module(self, module: nn.Module, args: Any) -> None:
        if not torch.compiler.is_compiling():  # a hook is traced with the module
            self.forward()


_running: _Events | None = None
