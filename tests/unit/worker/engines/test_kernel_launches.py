"""Launches that the dispatcher does not see, on modules in the form of Triton and inductor."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from planner.worker.engines import kernel_launches
from planner.worker.engines.kernel_launches import heard, in_compiled_code, told_alone


class _Fakes:
    """Stand-ins for the modules that define kernels."""

    def __init__(self) -> None:
        self.done: list[str] = []
        done = self.done

        class CachingAutotuner:
            def precompile(self) -> None:
                done.append("machine code")

            def run(self, *args: Any, stream: int) -> str:
                done.append("compiled kernel")
                return "ran"

        class JITFunction:
            def run(self, *args: Any, grid: int, warmup: bool) -> str:
                done.append("kernel by hand")
                return "handle"

        class CompiledFxGraph:
            def __call__(self, inputs: list[Any]) -> bool:
                return in_compiled_code()

        self.compiled, self.by_hand, self.graph = CachingAutotuner, JITFunction, CompiledFxGraph


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> Iterator[_Fakes]:
    found = _Fakes()
    for name, kind in (
        ("torch._inductor.runtime.triton_heuristics", found.compiled),
        ("triton.runtime.jit", found.by_hand),
        ("torch._inductor.output_code", found.graph),
    ):
        module = ModuleType(name)
        setattr(module, kind.__name__, kind)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.delitem(sys.modules, "triton.runtime.autotuner", raising=False)
    yield found
    assert not kernel_launches._listeners


def test_each_launch_is_told_before_it_is_made(fakes: _Fakes) -> None:
    told: list[tuple[Any, Any]] = []
    kernel = fakes.compiled()
    with heard(lambda one, args, kwargs: told.append((one, (args, dict(kwargs))))):
        assert kernel.run(1, 2, stream=7) == "ran"
    kernel.run(3, stream=7)
    assert told == [(kernel, ((1, 2), {"stream": 7}))]
    assert fakes.done == ["compiled kernel"] * 2


def test_where_launches_only_have_to_be_known_nothing_is_compiled_or_launched(
    fakes: _Fakes,
) -> None:
    told: list[Any] = []
    with told_alone(), heard(lambda one, *_: told.append(type(one).__name__)):
        kernel = fakes.compiled()
        kernel.precompile()
        assert kernel.run(1, stream=7) is None
        assert fakes.by_hand().run(1, grid=1, warmup=False) == "handle"
    assert told == ["CachingAutotuner", "JITFunction"]
    assert fakes.done == ["kernel by hand"]
    kernel.precompile()
    assert fakes.done[1:] == ["machine code"]


def test_where_kernels_are_chosen_by_times_those_of_libraries_are_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = ModuleType("torch._inductor.config")
    config.max_autotune_gemm_backends = "ATEN,TRITON"  # type: ignore[attr-defined] # as inductor's
    config.max_autotune_conv_backends = "TRITON"  # type: ignore[attr-defined] # the same
    monkeypatch.setitem(sys.modules, "torch._inductor.config", config)
    with told_alone():
        assert config.max_autotune_gemm_backends == config.max_autotune_conv_backends == "ATEN"
    assert config.max_autotune_gemm_backends == "ATEN,TRITON"
    with heard(lambda *_: None):
        assert config.max_autotune_conv_backends == "TRITON"


def test_compiled_code_is_known_while_it_runs(fakes: _Fakes) -> None:
    with heard(lambda *_: None):
        assert fakes.graph()([])
        assert not in_compiled_code()


def test_several_hear_the_same_launch_once(fakes: _Fakes) -> None:
    told: list[str] = []
    with heard(lambda *_: told.append("values")), heard(lambda *_: told.append("counts")):
        fakes.by_hand().run(1, grid=1, warmup=False)
    assert told == ["values", "counts"]
