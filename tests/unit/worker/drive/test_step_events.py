"""Phases of a step that the user's function makes, by what it calls."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.modules import module as hooks
from torch.utils.checkpoint import checkpoint

from planner.wire.trace import Phase
from planner.worker.drive.step_events import forward_begins, optimizers_noted, step_events
from planner.worker.record.watch import Watch


class Phases(Watch):
    def __init__(self) -> None:
        self.seen: list[str] = []
        self.optimizers: list[Any] = []
        self.by_user: list[bool] = []

    def enter(self, phase: Phase, inputs: Any = None) -> None:
        if not self.seen or self.seen[-1] != phase.value:
            self.seen.append(phase.value)

    def stepped(self, optimizer: Any, *, by_user: bool) -> None:
        self.optimizers.append(optimizer)
        self.by_user.append(by_user)


def test_two_backwards_two_optimizers_and_a_forward_between() -> None:
    a, b, watch = nn.Linear(2, 2), nn.Linear(2, 2), Phases()
    first, second = torch.optim.SGD(a.parameters()), torch.optim.Adam(b.parameters())
    with step_events(watch):
        a(torch.ones(2)).sum().backward()
        first.step()
        torch.autograd.backward(b(torch.ones(2)).sum())
        second.step()
    assert watch.seen == ["backward", "optimizer step", "forward", "backward", "optimizer step"]
    assert watch.optimizers == [first, second]


def test_a_closure_has_its_own_phases() -> None:
    model, watch = nn.Linear(2, 2), Phases()
    optimizer = torch.optim.SGD(model.parameters())

    def closure() -> Any:
        forward_begins()
        loss = model.weight.sum()  # no module is called
        loss.backward()
        return loss

    with step_events(watch):
        optimizer.step(closure)
    assert watch.seen == ["optimizer step", "forward", "backward", "optimizer step"]


@pytest.mark.parametrize("reentrant", [True, False])
def test_what_a_checkpoint_computes_again_is_backward(reentrant: bool) -> None:
    model, watch = nn.Linear(2, 2), Phases()
    x = torch.ones(2, requires_grad=True)
    with step_events(watch):
        model(x).sum().backward()  # from now on a forward is awaited
        checkpoint(model, x, use_reentrant=reentrant).sum().backward()
    assert watch.seen == ["backward", "optimizer step", "forward", "backward", "optimizer step"]


def test_nothing_is_left_behind_also_after_an_error() -> None:
    before = torch.autograd.backward, len(hooks._global_forward_pre_hooks)
    model = nn.Linear(2, 2)
    watch = Phases()

    def step() -> None:
        model(torch.ones(2)).sum().backward()
        model(torch.ones(2)).backward()  # not a scalar

    with pytest.raises(RuntimeError, match="scalar"), step_events(watch):
        step()
    assert watch.seen[-1] == "backward"
    assert (torch.autograd.backward, len(hooks._global_forward_pre_hooks)) == before
    torch.optim.SGD(model.parameters()).step()
    assert watch.optimizers == []
    forward_begins()
    assert watch.seen[-1] == "backward"


def test_the_context_around_a_backward() -> None:
    seen: list[bool] = []

    class Noted(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
            return x.sum()

        @staticmethod
        def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
            seen.append(torch.is_autocast_enabled("cpu"))
            return grad.expand(2)

    def off() -> Any:
        return torch.autocast("cpu", enabled=False)

    x = torch.ones(2, requires_grad=True)
    with torch.autocast("cpu"), step_events(Watch(), off):
        Noted.apply(x).backward()
        assert torch.is_autocast_enabled("cpu")
    assert seen == [False]


def test_an_optimizer_that_steps_within_backward() -> None:
    """As layer-wise optimizers do, to keep no gradient longer than it is needed."""
    layer, watch = nn.Linear(2, 2), Phases()
    optimizer = torch.optim.SGD(layer.parameters())
    layer.weight.register_post_accumulate_grad_hook(lambda _: optimizer.step())
    with step_events(watch):
        layer(torch.ones(2)).sum().backward()
    assert watch.seen == ["backward", "optimizer step"]
    with optimizers_noted(watch):
        layer(torch.ones(2)).sum().backward()
    assert watch.seen == ["backward", "optimizer step"]
    assert watch.optimizers == [optimizer] * 2
    assert watch.by_user == [True, False]
    layer(torch.ones(2)).sum().backward()
    assert len(watch.optimizers) == 2
