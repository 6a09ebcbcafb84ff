from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
import torch
from torch import nn

from planner.worker.record.module_calls import ModuleCalls, mark, marked


class Inner(nn.Module):
    def forward(self, x: Any) -> Any:
        if x.sum() > 100:
            raise ValueError("too much")
        return x * 2


class Outer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = Inner()
        self.pair = nn.ModuleList([self.inner, nn.Identity()])

    def forward(self, x: Any) -> Any:
        return self.pair[1](self.inner(x))


@pytest.fixture
def outer() -> Outer:
    return Outer()


def running(model: nn.Module) -> tuple[ModuleCalls, list[bool]]:
    roots: list[bool] = []
    return ModuleCalls(model, roots.append), roots


def test_calls_are_listed_with_their_paths_and_lines(outer: Outer) -> None:
    calls, roots = running(outer)
    calls.start()
    outer(torch.ones(2))
    calls.stop()
    outer(torch.ones(2))  # no longer seen
    assert [call.path for call in calls.calls] == ["", "inner", "pair.1"]
    assert all(call.source.startswith(f"{__file__}:") for call in calls.calls)
    assert roots == [True, False]


def test_a_module_of_no_part_of_the_model_is_passed_over(outer: Outer) -> None:
    calls, _ = running(outer)
    calls.start()
    nn.CrossEntropyLoss()(torch.ones(2, 3), torch.zeros(2, dtype=torch.long))
    calls.stop()
    assert calls.calls == []


def test_a_failing_call_is_ended_like_any_other(outer: Outer) -> None:
    calls, roots = running(outer)
    calls.start()
    with pytest.raises(ValueError, match="too much"):
        outer(torch.full((2,), 99.0))
    outer(torch.ones(2))
    calls.stop()
    assert roots == [True, False, True, False]
    assert calls._open == []


def test_no_tensor_is_kept(outer: Outer) -> None:
    calls, _ = running(outer)
    calls.start()
    output = outer(torch.ones(2))
    kept = weakref.ref(output)
    gc.disable()
    try:
        del output
        assert kept() is None
    finally:
        gc.enable()
        calls.stop()


def test_marks_are_read_back() -> None:
    assert marked(mark(17)) == 17
    assert marked("aten::linear") is None


def test_a_compiled_model_is_compiled_without_the_marks() -> None:
    """Hooks are traced with a module: they would be part of what is compiled, or break it."""
    graphs: list[list[str]] = []

    def backend(graph: Any, inputs: Any) -> Any:
        graphs.append([node.op for node in graph.graph.nodes if node.op.startswith("call")])
        return graph.forward

    net = nn.Sequential(nn.Linear(2, 2), nn.GELU())
    compiled = torch.compile(net, backend=backend)
    roots: list[bool] = []
    calls = ModuleCalls(compiled, roots.append)
    calls.start()
    try:
        for _ in range(3):
            compiled(torch.ones(1, 2))
    finally:
        calls.stop()
    assert graphs == [["call_function", "call_function"]]
    assert roots == [True, False] * 3
    assert {call.path for call in calls.calls} == {""}
