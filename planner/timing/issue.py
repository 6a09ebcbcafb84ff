"""How long the CPU takes to issue the calls of a step: Python, autograd, dispatch, the launch.

In: OperatorRecords, CallOrder. Out: IssueCosts, IssueTimes. Convention: seconds on the reference
core (planner/hardware/cpu_specs.py); a faster core takes its share of them. The figures in
issue.json are written by `python -m benchmarks.launch_overhead --fit`, those of convolutions by
`python -m benchmarks.throughput --fit`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from planner.timing.same import Same
from planner.wire.call_order import CallOrder
from planner.wire.trace import Issuer, OperatorRecord, Phase

FILE = Path(__file__).with_name("issue.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class IssueCosts:
    """Seconds of the reference core."""

    forward_s: float
    """An operator of a forward or a loss: called by Python, noted by autograd."""
    forward_view_s: float
    """A call in them without a kernel."""
    backward_s: float
    """An operator of backward: called by autograd's threads."""
    backward_view_s: float
    """A call in it without a kernel."""
    optimizer_s: float
    """An operator of the optimizer's step."""
    tensor_s: float
    """Each tensor in the lists of such an operator."""
    launch_s: float
    """The driver's part of a launch, which each kernel has."""
    compiled_s: float
    """A call in code that torch.compile has made: no autograd, no dispatch by keys."""
    convolution_s: float = 0.0
    """What a convolution takes more: its descriptors, and the kernel that cuDNN chooses."""
    convolution_backward_s: float = 0.0
    """The same of both of its gradients."""

    def of(self, record: OperatorRecord) -> float:
        """Returns the seconds of one call, without the views before it."""
        if record.issuer is Issuer.GRAPH:
            return 0.0  # a node of a graph takes nanoseconds (CUDA 12.6 and later)
        launches_s = max(1, record.launches) * self.launch_s + self._convolution_s(record)
        if record.issuer is Issuer.COMPILED:
            return self.compiled_s + launches_s
        if record.phase is Phase.BACKWARD:
            return self.backward_s + launches_s
        if record.phase is Phase.OPTIMIZER_STEP:
            tensors = sum(one.number for one in record.inputs)
            return self.optimizer_s + tensors * self.tensor_s + launches_s
        return self.forward_s + launches_s

    def _convolution_s(self, record: OperatorRecord) -> float:
        if record.convolution is None:
            return 0.0
        is_backward = "backward" in record.name
        return self.convolution_backward_s if is_backward else self.convolution_s

    def view_s(self, phase: Phase) -> float:
        """Returns the seconds of a call without a kernel; an optimizer's are in its tensors."""
        if phase is Phase.OPTIMIZER_STEP:
            return 0.0
        return self.backward_view_s if phase is Phase.BACKWARD else self.forward_view_s


@cache
def issue_costs() -> IssueCosts:
    """Reads the figures that come with planner."""
    return read_costs(json.loads(FILE.read_text(encoding="utf-8")))


def read_costs(found: Mapping[str, Any]) -> IssueCosts:
    """Returns the figures of a document in the form of issue.json."""
    return IssueCosts(
        **{name.removesuffix("_us") + "_s": value / 1e6 for name, value in found["costs"].items()}
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class IssueTimes:
    """Seconds to issue the calls of a step on the reference core."""

    micro_batch_s: float
    """Those of one micro-batch."""
    optimizer_s: float
    """Those of the optimizer's step."""


def issue_times(
    operators: Sequence[OperatorRecord], order: CallOrder, costs: IssueCosts | None = None
) -> IssueTimes:
    """Returns the seconds of all calls; `costs` are those that come with planner, if None."""
    return _issue_times(Same(operators), Same(order), costs or issue_costs())


@lru_cache(maxsize=32)
def _issue_times(
    operators: Same[Sequence[OperatorRecord]], order: Same[CallOrder], costs: IssueCosts
) -> IssueTimes:
    """Adds the calls up; the cards of a step, and its changes, all ask for the same."""
    optimizer_s = micro_batch_s = 0.0
    for record in operators.held:
        if record.phase is Phase.OPTIMIZER_STEP:
            optimizer_s += record.calls * costs.of(record)
        else:
            micro_batch_s += record.calls * costs.of(record)
    view_s = [costs.view_s(record.phase) for record in operators.held]
    for place, views in zip(order.held.operators, order.held.views, strict=True):
        micro_batch_s += views * view_s[place]
    return IssueTimes(micro_batch_s=micro_batch_s, optimizer_s=optimizer_s)
