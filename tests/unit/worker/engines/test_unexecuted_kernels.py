"""Kernels that are never run: their last stages are left out, and what decides memory stays."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from planner.worker.engines import unexecuted_kernels

ENTRY = "define ptx_kernel void @triton_add_0(ptr %0) {\n}\ndefine internal void @helper() {\n}\n"


class Llvm:
    """Stands for LLVM: counts the modules that it has optimized."""

    OPTIMIZE_O3 = 3

    def __init__(self) -> None:
        self.optimized = 0

    def optimize_module(self, module: object, level: int) -> None:
        self.optimized += 1


def installed(monkeypatch: pytest.MonkeyPatch, hook: Any = None) -> tuple[ModuleType, Llvm]:
    """Puts the compiler of Triton in place, with what it has in common with the real one."""
    compiler, triton, library = ModuleType("compiler"), ModuleType("triton"), Llvm()
    runtime = SimpleNamespace(add_stages_inspection_hook=hook)
    compiler.llvm = library  # type: ignore[attr-defined]
    triton.knobs = SimpleNamespace(runtime=runtime)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "triton", triton)
    monkeypatch.setitem(sys.modules, "triton.backends.nvidia.compiler", compiler)
    unexecuted_kernels.install()
    return triton, library


def stages_of(compiler: ModuleType, done: list[str]) -> dict[str, Callable[..., Any]]:
    def llir(source: str, metadata: dict[str, Any]) -> str:
        compiler.llvm.optimize_module(source, compiler.llvm.OPTIMIZE_O3)
        metadata["shared"] = 4096
        return source

    def ptx(source: str, metadata: dict[str, Any]) -> str:
        done.append("ptx")
        metadata["name"] = "by the assembler"
        return "ptx"

    def cubin(source: str, metadata: dict[str, Any]) -> bytes:
        done.append("cubin")
        return b"code"

    return {"ttir": llir, "llir": llir, "ptx": ptx, "cubin": cubin}


@pytest.mark.parametrize(
    ("text", "optimized", "done", "name"),
    [
        pytest.param(ENTRY, 0, [], "triton_add_0", id="a kernel"),
        pytest.param("?", 0, ["ptx", "cubin"], "by the assembler", id="no entry is known"),
    ],
)
def test_stages_that_make_machine_code_are_left_out(
    monkeypatch: pytest.MonkeyPatch, text: str, optimized: int, done: list[str], name: str
) -> None:
    triton, library = installed(monkeypatch)
    ran: list[str] = []
    stages = stages_of(sys.modules["triton.backends.nvidia.compiler"], ran)
    hook = triton.knobs.runtime.add_stages_inspection_hook
    hook(None, stages, None, None, 80)
    key, digest = hook()
    assert key, "such kernels have another key in Triton's cache"
    assert digest
    metadata: dict[str, Any] = {}
    code = text
    for stage in ("llir", "ptx", "cubin"):
        code = stages[stage](code, metadata)
    assert (library.optimized, ran) == (optimized, done)
    assert metadata == {"shared": 4096, "name": name}
    assert isinstance(code, bytes)
    assert code
    stages["ttir"](text, metadata)
    assert library.optimized == optimized + 1, "other stages have all of LLVM"


def test_a_hook_of_the_user_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    def own() -> None: ...

    triton, library = installed(monkeypatch, own)
    assert triton.knobs.runtime.add_stages_inspection_hook is own
    assert sys.modules["triton.backends.nvidia.compiler"].llvm is library
