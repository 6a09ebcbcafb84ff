"""Launches of kernels that torch's dispatcher does not see: Triton's, and compiled code's.

In: functions that are called for each. Out: nothing. Convention: a kernel is the object whose `run`
launches it, in the form that Triton and PyTorch's inductor give it; modules that define such
kernels may be imported at any time.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from planner.worker.engines.after_import import after_import

Listener = Callable[[Any, tuple[Any, ...], Mapping[str, Any]], None]
"""Gets the kernel, and what it is launched with."""

# Classes whose `run` launches kernels: Triton's own functions, and those that inductor makes.
_LAUNCHERS = {
    "triton.runtime.jit": ("JITFunction",),
    "triton.runtime.autotuner": ("Autotuner", "Heuristics"),
    "torch._inductor.runtime.triton_heuristics": ("CachingAutotuner",),
}
_COMPILING = "precompile"  # makes machine code of inductor's kernels
_GRAPHS = "torch._inductor.output_code"
_GRAPH = "CompiledFxGraph"  # its call runs the code that torch.compile has made
_CONFIG = "torch._inductor.config"
# Where kernels are chosen by their times, those of libraries are taken: an emulated card has no
# times, and the FLOPs of a product that inductor writes itself are not known.
_LIBRARIES = {"max_autotune_gemm_backends": "ATEN", "max_autotune_conv_backends": "ATEN"}
_MODULES = (*_LAUNCHERS, _GRAPHS, _CONFIG)
_awaited: set[str] = set()  # modules that are watched from their import on
_listeners: list[Listener] = []
_told_alone: list[None] = []  # as long as it is not empty, nothing is compiled or launched
_running: list[None] = []  # calls of compiled code that have not ended


def in_compiled_code() -> bool:
    """Returns whether code runs that torch.compile has made; known while launches are heard."""
    return bool(_running)


@contextmanager
def told_alone() -> Iterator[None]:
    """Launches no kernel of compiled code within the context, and makes no machine code of it.

    A kernel whose launch only has to be known needs neither. Kernels by hand are launched: their
    caller may use what Triton returns.
    """
    config = sys.modules.get(_CONFIG)
    before = {} if config is None else {name: getattr(config, name) for name in _LIBRARIES}
    _told_alone.append(None)
    try:
        with heard(lambda *_: None):
            yield
    finally:
        _told_alone.pop()
        for name, value in before.items():
            setattr(config, name, value)


@contextmanager
def heard(listener: Listener) -> Iterator[None]:
    """Calls `listener` before each launch within the context."""
    for name in _MODULES:
        if name in sys.modules or name not in _awaited:
            _awaited.add(name)
            after_import(name, _watch)
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def _watch(module: ModuleType) -> None:
    if module.__name__ == _CONFIG:
        if _told_alone:
            for name, value in _LIBRARIES.items():
                setattr(module, name, value)
        return
    if module.__name__ == _GRAPHS:
        _mark(getattr(module, _GRAPH, None))
        return
    for name in _LAUNCHERS[module.__name__]:
        kind = getattr(module, name, None)
        run = getattr(kind, "run", None)
        if run is not None and not hasattr(run, "_planner_hears"):
            compile_ = getattr(kind, _COMPILING, None)  # inductor's kernels alone have it
            kind.run = _telling(run, is_compiled=compile_ is not None)  # type: ignore[union-attr] # it has a `run`
            if compile_ is not None:
                setattr(kind, _COMPILING, _waiting(compile_))


def _mark(kind: Any) -> None:
    """Makes calls of compiled code known. A torch without this class runs all as eager code."""
    call = vars(kind).get("__call__") if isinstance(kind, type) else None
    if call is None or hasattr(call, "_planner_hears"):
        return

    def marked(*args: Any, **kwargs: Any) -> Any:
        _running.append(None)
        try:
            return call(*args, **kwargs)
        finally:
            _running.pop()

    marked._planner_hears = True  # type: ignore[attr-defined] # marks what is wrapped
    type.__setattr__(kind, "__call__", marked)


def _telling(run: Callable[..., Any], *, is_compiled: bool) -> Callable[..., Any]:
    def telling(kernel: Any, *args: Any, **kwargs: Any) -> Any:
        for listener in tuple(_listeners):
            listener(kernel, args, kwargs)
        if is_compiled and _told_alone:
            return None
        return run(kernel, *args, **kwargs)

    telling._planner_hears = True  # type: ignore[attr-defined] # marks what is wrapped
    return telling


def _waiting(compile_: Callable[..., Any]) -> Callable[..., Any]:
    def waiting(*args: Any, **kwargs: Any) -> Any:
        return None if _told_alone else compile_(*args, **kwargs)

    return waiting
