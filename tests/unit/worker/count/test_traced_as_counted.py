"""What the profiler writes of a call gives the record that the count of a step has of it.

Each operator runs once, on the CPU, under the profiler and under the count: the arguments that the
profiler wrote go through the rules for traces, those of the call through the count.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode

from planner.verification.profiler_trace import TracedOperator
from planner.verification.trace_events import trace_events
from planner.verification.traced_records import record_of
from planner.wire.trace import OperatorRecord, Phase
from planner.worker.count.operator_calls import OperatorCall, OperatorCosts
from planner.worker.record.quiet import quiet_kineto


class Counting(TorchDispatchMode):
    """Keeps the calls, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[OperatorCall] = []
        self._costs = OperatorCosts()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        self.calls.append(self._costs.of(func, args, kwargs or {}, out))
        return out


def both(work: Callable[[], Any], name: str, folder: Path) -> tuple[OperatorCall, OperatorRecord]:
    """The first call of the operator, as it is counted and as the profiler wrote it."""
    activities = [ProfilerActivity.CPU]
    # Kineto reads its variable once: later tests of the process need it silent too.
    with quiet_kineto(), profile(activities=activities, record_shapes=True) as profiler:
        work()
    with Counting() as counting:
        work()
    file = folder / "trace.json"
    profiler.export_chrome_trace(str(file))
    span = next(one for one in trace_events(file.read_bytes()).spans if one.name == name)
    dims, dtypes, strides, concrete = span.arguments()
    traced = record_of(
        TracedOperator(
            name=name,
            phase=Phase.FORWARD,
            dims=dims,
            dtypes=dtypes,
            strides=strides,
            concrete=concrete,
            calls=1,
            launches=1,
            measured_s=1.0,
            list_dtype="float",
        )
    )
    assert traced is not None, json.dumps(span.arguments())
    return next(one for one in counting.calls if one.name == name), traced


def tensor(*shape: int, dtype: torch.dtype = torch.float32, grad: bool = False) -> torch.Tensor:
    return torch.ones(*shape, dtype=dtype, requires_grad=grad)


def image(*shape: int, grad: bool = False) -> torch.Tensor:
    """With channels next to each other."""
    found = torch.ones(*shape).to(memory_format=torch.channels_last)
    return found.requires_grad_(grad)


def backward(work: Callable[[], torch.Tensor]) -> Callable[[], None]:
    return lambda: work().sum().backward()


def padded(channels: int, *, groups: int = 1) -> Callable[[], torch.Tensor]:
    return lambda: functional.conv2d(
        image(2, channels, 9, 9, grad=True),
        tensor(8, channels // groups, 3, 3, grad=True),
        tensor(8, grad=True),
        stride=2,
        padding=1,
        groups=groups,
    )


def normed() -> torch.Tensor:
    return functional.layer_norm(
        tensor(4, 6, 8, grad=True), (8,), tensor(8, grad=True), tensor(8, grad=True)
    )


def batch_normed() -> torch.Tensor:
    return functional.batch_norm(
        image(2, 3, 8, 8, grad=True), tensor(3), tensor(3), tensor(3, grad=True),
        tensor(3, grad=True), training=True,
    )  # fmt: skip


def looked_up() -> torch.Tensor:
    return functional.embedding(torch.zeros(2, 5, dtype=torch.long), tensor(100, 16, grad=True))


def lists() -> list[torch.Tensor]:
    return [tensor(8, 4), tensor(8, 4), tensor(4)]


CASES: dict[str, Callable[[], Any]] = {
    "mm": lambda: tensor(8, 4) @ tensor(4, 2),
    "addmm": lambda: functional.linear(tensor(8, 4), tensor(2, 4), tensor(2)),
    "bmm": lambda: torch.bmm(tensor(3, 8, 4), tensor(3, 4, 2)),
    "baddbmm": lambda: torch.baddbmm(tensor(3, 8, 2), tensor(3, 8, 4), tensor(3, 4, 2)),
    "add": lambda: tensor(8, 4) + tensor(4),
    "mul": lambda: tensor(8, 4, dtype=torch.bfloat16) * tensor(8, 1).expand(8, 4),
    "div": lambda: tensor(8, 4) / 3.0,
    "add_": lambda: tensor(8, 4).add_(tensor(8, 4, dtype=torch.float16)),
    "relu": lambda: image(2, 3, 8, 8).relu(),
    "gelu": lambda: functional.gelu(tensor(8, 4)),
    "gelu_backward": backward(lambda: functional.gelu(tensor(8, 4, grad=True))),
    "threshold_backward": backward(lambda: functional.relu(tensor(8, 4, grad=True))),
    "where": lambda: torch.where(tensor(8, 4) > 0, tensor(8, 4), tensor(4)),
    "eq": lambda: tensor(8, 4) == 1,
    "sum": lambda: tensor(8, 4).sum(0, keepdim=True),
    "mean": lambda: tensor(2, 3, 8, 8).mean((-1, -2)),
    "copy_": lambda: tensor(8, 4).copy_(tensor(8, 4, dtype=torch.float16)),
    "fill_": lambda: tensor(8, 4).fill_(2.0),
    "zero_": lambda: tensor(8, 4).zero_(),
    "_softmax": lambda: functional.softmax(tensor(8, 4), -1),
    "_softmax_backward_data": backward(lambda: functional.softmax(tensor(8, 4, grad=True), -1)),
    "_log_softmax": lambda: functional.log_softmax(tensor(8, 4), -1),
    "_log_softmax_backward_data": backward(
        lambda: functional.log_softmax(tensor(8, 4, grad=True), -1)
    ),
    "native_layer_norm": normed,
    "native_layer_norm_backward": backward(normed),
    "native_batch_norm": batch_normed,
    "native_batch_norm_backward": backward(batch_normed),
    "native_group_norm": lambda: functional.group_norm(tensor(2, 4, 8, 8), 2, tensor(4), tensor(4)),
    "embedding": looked_up,
    "embedding_dense_backward": backward(looked_up),
    "nll_loss_forward": lambda: functional.nll_loss(tensor(8, 4), torch.zeros(8, dtype=torch.long)),
    "nll_loss_backward": lambda: functional.nll_loss(
        tensor(8, 4, grad=True), torch.zeros(8, dtype=torch.long)
    ).backward(),
    "convolution": padded(4),
    "convolution_backward": backward(padded(4)),
    "max_pool2d_with_indices": lambda: functional.max_pool2d(tensor(2, 3, 9, 9, grad=True), 3, 2),
    "max_pool2d_with_indices_backward": backward(
        lambda: functional.max_pool2d(tensor(2, 3, 9, 9, grad=True), 3, 2)
    ),
    "cat": lambda: torch.cat([tensor(8, 4), tensor(8, 3)], -1),
    "_foreach_addcdiv_": lambda: torch._foreach_addcdiv_(lists(), lists(), lists(), 0.5),
    "_foreach_sqrt": lambda: torch._foreach_sqrt(lists()),
    "_foreach_mul_": lambda: torch._foreach_mul_(lists(), 0.5),
    "_foreach_norm": lambda: torch._foreach_norm(lists(), 2),
}


@pytest.mark.parametrize("name", CASES)
def test_records_are_alike(name: str, tmp_path: Path) -> None:
    counted, traced = both(CASES[name], f"aten::{name}", tmp_path)
    found = {one: getattr(traced, one) for one in ("flops", "read_bytes", "written_bytes")}
    assert found == {one: getattr(counted, one) for one in found}
    assert traced.inputs == counted.inputs
    assert [(one.shape, one.number) for one in traced.outputs] == [
        (one.shape, one.number) for one in counted.outputs if 0 not in one.shape
    ]


def test_a_convolution_of_groups(tmp_path: Path) -> None:
    counted, traced = both(backward(padded(4, groups=4)), "aten::convolution_backward", tmp_path)
    assert traced.flops == counted.flops
