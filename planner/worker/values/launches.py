"""Tensors given to kernels that torch's dispatcher does not see: Triton's, and compiled code's.

In: launches through Triton, by any code. Out: the values of those tensors are not known any more.
Convention: a kernel may write any tensor that it gets.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import torch

from planner.worker.values import twins

# Classes whose `run` launches kernels: Triton's own functions, and those that inductor makes.
_LAUNCHERS = {
    "triton.runtime.jit": ("JITFunction",),
    "triton.runtime.autotuner": ("Autotuner", "Heuristics"),
    "torch._inductor.runtime.triton_heuristics": ("CachingAutotuner",),
}


@contextmanager
def watched() -> Iterator[None]:
    """Observes launches within the context, also by modules that are imported in it."""
    finder = _Finder()
    for name in _LAUNCHERS:
        module = sys.modules.get(name)
        if module is not None:
            _watch(module)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


class _Finder(importlib.abc.MetaPathFinder):
    """Wraps the launchers as soon as their module is imported."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Returns the module's own spec, with a loader that wraps launchers afterwards."""
        if fullname not in _LAUNCHERS:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)
        return spec


class _Loader(importlib.abc.Loader):
    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        found: ModuleType | None = self._loader.create_module(spec)
        return found

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        _watch(module)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)


def _watch(module: ModuleType) -> None:
    for name in _LAUNCHERS[module.__name__]:
        kind = getattr(module, name, None)
        run = getattr(kind, "run", None)
        if run is not None and not hasattr(run, "_planner_watches"):
            kind.run = _forgetting(run)  # type: ignore[union-attr] # it has a `run`


def _forgetting(run: Callable[..., Any]) -> Callable[..., Any]:
    def forgetting(*args: Any, **kwargs: Any) -> Any:
        for value in (*args, *kwargs.values()):
            if isinstance(value, torch.Tensor) and twins.is_plain(value):
                twins.forget(value)
        return run(*args, **kwargs)

    forgetting._planner_watches = True  # type: ignore[attr-defined] # marks what is wrapped
    return forgetting
