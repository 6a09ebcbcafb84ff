"""The profiler's view of allocations, on the CPU."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from torch._C._profiler import RecordScope
from torch.utils.checkpoint import checkpoint

from planner.worker.record import operator_sites
from planner.worker.record.module_calls import ModuleCalls
from planner.worker.record.operator_sites import OperatorSites, SiteRequest

CPU = torch.device("cpu")
BATCH, WIDTH = 48, 96


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)])
        self.reentrant: bool | None = None

    def forward(self, x: Any) -> Any:
        for layer in self.layers:
            x = layer(x) if self.reentrant is None else self._again(layer, x)
        return torch.tanh(x)

    def _again(self, layer: nn.Module, x: Any) -> Any:
        return checkpoint(
            lambda value: torch.sigmoid(layer(value)), x, use_reentrant=self.reentrant
        )


def seen(reentrant: bool | None = None) -> tuple[list[SiteRequest], ModuleCalls]:
    model = Net()
    model.reentrant = reentrant
    x = torch.zeros(BATCH, WIDTH, requires_grad=True)
    calls = ModuleCalls(model, lambda begins: None)
    sites = OperatorSites(CPU)
    calls.start()
    sites.start()
    try:
        loss = (model(x) * 2.0).sum()
        loss.backward()
    finally:
        calls.stop()
        found = sites.stop()
    size = BATCH * WIDTH * 4
    return [request for request in found if request.block_bytes == size], calls


def named(requests: list[SiteRequest], calls: ModuleCalls) -> list[tuple[str, str]]:
    return [
        (r.site.operator, "-" if r.site.call is None else calls.calls[r.site.call].path)
        for r in requests
    ]


def test_each_request_has_the_outermost_operator_and_the_running_module() -> None:
    names = named(*seen())
    assert names[:4] == [
        ("aten::linear", "layers.0"),
        ("aten::linear", "layers.1"),
        ("aten::tanh", ""),
        ("aten::mul", "-"),
    ]


def test_a_node_is_of_the_module_whose_forward_made_it() -> None:
    names = named(*seen())
    assert ("MulBackward0", "-") in names
    assert ("TanhBackward0", "") in names
    assert names.index(("AddmmBackward0", "layers.1")) < names.index(("AddmmBackward0", "layers.0"))


def test_a_node_knows_the_site_of_its_forward() -> None:
    requests, _ = seen()
    node = next(r.site for r in requests if r.site.operator == "TanhBackward0")
    assert node.forward is not None
    assert node.forward is next(r.site for r in requests if r.site.operator == "aten::tanh")


@pytest.mark.parametrize("reentrant", [False, True])
def test_what_backward_computes_again_is_of_its_module(reentrant: bool) -> None:
    requests, calls = seen(reentrant)
    names = named(requests, calls)
    forward = names.index(("aten::mul", "-"))
    again = names[forward:]
    assert ("aten::linear", "layers.1") in again
    assert ("aten::linear", "layers.0") in again
    assert ("AddmmBackward0", "layers.1") in again
    assert ("AddmmBackward0", "layers.0") in again


def operator(name: str, *children: Any, begin: int = 0) -> Any:
    fields = SimpleNamespace(sequence_number=-1, scope=RecordScope.FUNCTION)
    return SimpleNamespace(
        name=name, children=list(children), extra_fields=fields, start_tid=1, start_time_ns=begin
    )


def memory(ptr: int, alloc_size: int, begin: int, device: str = "cpu") -> Any:
    fields = SimpleNamespace(ptr=ptr, alloc_size=alloc_size, device=torch.device(device))
    return SimpleNamespace(
        name="[memory]", children=[], extra_fields=fields, start_tid=1, start_time_ns=begin
    )


def read(*roots: Any) -> list[SiteRequest]:
    reading = operator_sites._Reading("cpu")
    for root in roots:
        reading.read(root)
    return [request for _, request in sorted(reading.requests, key=lambda timed: timed[0])]


def test_scratch_is_given_back_by_the_operator_that_asked_for_it() -> None:
    output, scratch, copy = memory(1, 512, 1), memory(2, 1024, 2), memory(3, 512, 3)
    convolution = operator(
        "aten::cudnn_convolution",
        output,
        scratch,
        operator("aten::contiguous", copy),
        memory(2, -1024, 4),
        memory(3, -512, 5),
    )
    requests = read(operator("aten::conv2d", convolution))
    assert [(r.address, r.inner, r.scratch) for r in requests] == [
        (1, "aten::cudnn_convolution", False),
        (2, "aten::cudnn_convolution", True),
        (3, "aten::contiguous", False),
    ]
    assert {request.site.operator for request in requests} == {"aten::conv2d"}


def test_what_no_operator_asked_for_has_no_site() -> None:
    (request,) = read(memory(1, 512, 1), memory(2, 512, 2, device="meta"), memory(1, -512, 3))
    assert (request.site.operator, request.site.call, request.inner) == ("", None, "")


def test_threads_take_turns_and_time_orders_them() -> None:
    late = operator("aten::add", memory(1, 512, 9))
    early = operator("aten::mul", memory(2, 512, 4))
    assert [request.inner for request in read(late, early)] == ["aten::mul", "aten::add"]


def test_blocks_of_another_device_are_left_out() -> None:
    sites = OperatorSites(torch.device("cuda", 0))
    sites.start()
    torch.zeros(BATCH, WIDTH)
    assert sites.stop() == ()


def test_a_profiler_of_the_users_own_is_let_alone() -> None:
    with torch.autograd.profiler.profile():
        sites = OperatorSites(CPU)
        sites.start()
        torch.zeros(3)
        assert sites.stop() == ()


def test_kineto_is_silent_and_its_variable_does_not_stay(capfd: pytest.CaptureFixture[str]) -> None:
    sites = OperatorSites(CPU)
    sites.start()
    sites.stop()
    assert capfd.readouterr().err == ""
    assert "KINETO_LOG_LEVEL" not in os.environ


def test_stopped_without_a_start() -> None:
    assert OperatorSites(CPU).stop() == ()
