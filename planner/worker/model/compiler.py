"""Keeps torch's compiler unloaded in a process that does not compile.

In: nothing. Out: a stand-in for torch._dynamo in sys.modules, replaced by the real module at the
first use that needs it. Convention: nothing is changed once torch._dynamo has been imported.

Optimizers, random functions on meta and checkpointing import torch._dynamo (900 modules, more than
a second) only to exclude themselves from compilation: `disable` and `graph_break`.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from types import FunctionType, ModuleType, SimpleNamespace
from typing import Any

import torch

_NAME = "torch._dynamo"
# What a first compilation imports, which takes seconds.
_GENERATORS = (
    "torch._dynamo.backends.inductor",
    "torch._inductor.compile_fx",
    "torch._inductor.async_compile",
    "torch._inductor.codegen.triton",
    "torch._inductor.codegen.cuda_combined_scheduling",
    "torch._inductor.codegen.cpp_wrapper_gpu",
    "torch._inductor.runtime.triton_heuristics",
    "triton.compiler",
)
_CODE_CACHE = "torch._inductor.codecache"
_LOG = logging.getLogger(__name__)
_NO_RULES = SimpleNamespace(clear_lru_cache=lambda: None)  # init_process_group clears them


def defer_compiler() -> None:
    """Puts the stand-in in place, unless the compiler has been imported already."""
    if _NAME in sys.modules:
        return
    stand_in = _DeferredCompiler(_NAME)
    sys.modules[_NAME] = stand_in
    setattr(torch, "_dynamo", stand_in)  # noqa: B010  # mypy knows the real module there


def load_compiler() -> None:
    """Loads the real compiler now, for libraries that load it in the middle of other imports."""
    stand_in = sys.modules.get(_NAME)
    if isinstance(stand_in, _DeferredCompiler):
        stand_in._real()


def load_code_generators() -> None:
    """Loads all of the compiler, for the processes forked from this one; a run reports failures."""
    try:
        load_compiler()
        for name in _GENERATORS:
            importlib.import_module(name)
        importlib.import_module(_CODE_CACHE).torch_key()  # a digest of torch's sources
    except Exception:
        _LOG.debug("the compiler failed to load ahead of a run", exc_info=True)


def _options() -> ModuleType:
    """Loads only torch._dynamo.config, which checkpointing reads; the real package shares it."""
    name = f"{_NAME}.config"
    if name in sys.modules:
        return sys.modules[name]
    path = Path(torch.__file__).parent / "_dynamo" / "config.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None, "a path ending in .py has a spec"
    assert spec.loader is not None, "and a loader"
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


class _DeferredCompiler(ModuleType):
    """Replaces torch._dynamo where nothing compiles; any other use loads the real one."""

    def graph_break(self, msg: str = "") -> None:
        """Does nothing, because nothing is traced."""

    def disable(self, fn: Any = None, recursive: bool = True, **options: Any) -> Any:
        """Hides `fn` from the compiler once it is loaded."""
        if fn is None:
            return functools.partial(self.disable, recursive=recursive, **options)
        if not isinstance(fn, FunctionType):
            return self._real().disable(fn, recursive, **options)
        return self._hidden_later(fn, recursive, options)

    def __getattr__(self, name: str) -> Any:
        if name == "config" and sys.modules.get(_NAME) is self:
            return _options()
        if name == "trace_rules" and sys.modules.get(_NAME) is self:
            return _NO_RULES
        if name == "__file__" and sys.modules.get(_NAME) is self:
            raise AttributeError(name)  # inspect asks each module for it, in the middle of imports
        return getattr(self._real(), name)

    def _hidden_later(
        self, function: Callable[..., Any], recursive: bool, options: dict[str, Any]
    ) -> Callable[..., Any]:
        hidden: Callable[..., Any] | None = None

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal hidden
            if hidden is None:
                if sys.modules.get(_NAME) is self:
                    return function(*args, **kwargs)
                hidden = self._real().disable(function, recursive, **options)
            return hidden(*args, **kwargs)

        return call

    def _real(self) -> ModuleType:
        if sys.modules.get(_NAME) is self:
            del sys.modules[_NAME]
        return importlib.import_module(_NAME)
