"""What the CPU takes to issue calls, by hand."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from planner.timing.issue import FILE, IssueCosts, issue_costs, issue_times, read_costs
from planner.wire.call_order import NO_ORDER, CallOrder
from planner.wire.kernel_facts import ConvolutionFacts
from planner.wire.trace import Issuer, Phase
from tests.unit.operator_records import operator, relu, tensor

COSTS = IssueCosts(
    forward_s=10.0, forward_view_s=1.0, backward_s=6.0, backward_view_s=0.5, optimizer_s=20.0,
    tensor_s=2.0, launch_s=3.0, compiled_s=4.0, convolution_s=7.0, convolution_backward_s=30.0,
)  # fmt: skip
FACTS = ConvolutionFacts(
    stride=(1, 1), padding=(1, 1), dilation=(1, 1), groups=1, is_transposed=False
)
IMAGES = tensor(1, 8, 4, 4)


def test_each_phase_has_its_cost_and_each_kernel_its_launch() -> None:
    forward, backward = relu(8), replace(relu(8), phase=Phase.BACKWARD, launches=2)
    assert COSTS.of(forward) == 10 + 3
    assert COSTS.of(backward) == 6 + 2 * 3


def test_an_optimizer_pays_for_each_tensor_of_its_lists() -> None:
    weights = tensor(8, 8, number=5)
    record = operator("_foreach_add_", (weights,), (), phase=Phase.OPTIMIZER_STEP)
    assert COSTS.of(record) == 20 + 5 * 2 + 3
    assert COSTS.view_s(Phase.OPTIMIZER_STEP) == 0


def test_a_convolution_costs_more_and_its_gradients_most() -> None:
    forward = operator("convolution", (IMAGES, tensor(8, 8, 3, 3)), (IMAGES,))
    backward = operator("convolution_backward", (IMAGES, IMAGES), (IMAGES,), phase=Phase.BACKWARD)
    assert COSTS.of(replace(forward, convolution=FACTS)) == COSTS.of(forward) + 7
    assert COSTS.of(replace(backward, convolution=FACTS)) == COSTS.of(backward) + 30


@pytest.mark.parametrize("phase", [Phase.FORWARD, Phase.BACKWARD])
def test_compiled_code_costs_less_and_a_graph_nothing(phase: Phase) -> None:
    compiled = replace(relu(8), phase=phase, issuer=Issuer.COMPILED)
    assert COSTS.of(compiled) == 4 + 3
    assert COSTS.of(replace(compiled, issuer=Issuer.GRAPH)) == 0


def test_views_count_where_they_were_called() -> None:
    records = (relu(8, calls=2), replace(relu(8), phase=Phase.BACKWARD))
    found = issue_times(records, CallOrder(operators=(0, 0, 1), views=(3, 0, 4)), COSTS)
    assert found.micro_batch_s == 2 * 13 + (6 + 3) + 3 * 1.0 + 4 * 0.5
    assert found.optimizer_s == 0


def test_an_optimizers_step_is_apart() -> None:
    record = operator("_fused_adamw_", (tensor(8, number=2),), (), phase=Phase.OPTIMIZER_STEP)
    found = issue_times((relu(8), record), NO_ORDER, COSTS)
    assert (found.micro_batch_s, found.optimizer_s) == (13, 27)


def test_the_costs_that_come_with_planner_are_microseconds() -> None:
    document = json.loads(FILE.read_text(encoding="utf-8"))
    found = read_costs(document)
    assert found == issue_costs()
    assert found.forward_s == pytest.approx(document["costs"]["forward_us"] / 1e6)
    assert 1e-6 < found.forward_s < 1e-4
    assert found.convolution_backward_s > found.convolution_s > 0
