"""Leaves out the last stages of Triton's compiler, whose machine code an emulated card never runs.

In: the compiler of Triton, as soon as it is imported. Out: kernels that are loaded, launched and
tuned as always, with empty machine code. Convention: all stages stay that decide memory: shared
memory, scratch and launch arguments of a kernel are known before LLVM optimizes it. Triton's own
hook on its stages gives such kernels another key, so no cache on disk mixes them with real ones.
"""

from __future__ import annotations

import functools
import importlib
import re
from collections.abc import Callable
from types import ModuleType
from typing import Any

from planner.worker.engines.after_import import after_import

_COMPILER = "triton.backends.nvidia.compiler"
_KEY = "planner: without machine code"
_ENTRY = re.compile(r'^define (?:\w+ )*?ptx_kernel void @"?([A-Za-z_]\w*)"?\(', re.MULTILINE)
_NO_CODE = b"\0" * 16
_Stage = Callable[[Any, dict[str, Any]], Any]


def install() -> None:
    """Leaves the stages out from the import of Triton's compiler on."""
    after_import(_COMPILER, _leave_out)


def _leave_out(compiler: ModuleType) -> None:
    """Sets Triton's hook on its stages, where this Triton has one and the user has set none."""
    runtime = getattr(getattr(importlib.import_module("triton"), "knobs", None), "runtime", None)
    library = getattr(compiler, "llvm", None)
    if getattr(runtime, "add_stages_inspection_hook", "") is not None or library is None:
        return
    shortened = _Shortened(library)
    compiler.llvm = shortened  # type: ignore[attr-defined] # its stages look it up there
    runtime.add_stages_inspection_hook = functools.partial(_shorten, shortened)  # type: ignore[union-attr]


class _Shortened:
    """The LLVM of a compiler, which optimizes nothing while `is_short`."""

    def __init__(self, library: Any) -> None:
        self._library = library
        self.is_short = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._library, name)

    def optimize_module(self, *args: Any, **options: Any) -> Any:
        """Optimizes a module, unless its machine code is left out."""
        return None if self.is_short else self._library.optimize_module(*args, **options)


def _shorten(library: _Shortened, *of_stages: Any) -> tuple[str, str] | None:
    """Is Triton's hook: the key of such kernels without arguments, else a change of the stages."""
    if not of_stages:
        return _KEY, _KEY
    stages: dict[str, _Stage] = of_stages[1]
    if not {"llir", "ptx", "cubin"} <= stages.keys():
        return None
    whole, assembled, coded = stages["llir"], stages["ptx"], stages["cubin"]

    def llir(source: Any, metadata: dict[str, Any]) -> Any:
        library.is_short = True
        try:
            return whole(source, metadata)
        finally:
            library.is_short = False

    def ptx(source: Any, metadata: dict[str, Any]) -> Any:
        names = _ENTRY.findall(source)
        if len(names) != 1:
            return assembled(source, metadata)
        metadata["name"] = names[0]
        return ""

    def cubin(source: Any, metadata: dict[str, Any]) -> Any:
        return coded(source, metadata) if source else _NO_CODE

    stages.update(llir=llir, ptx=ptx, cubin=cubin)
    return None
