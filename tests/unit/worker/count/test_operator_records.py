"""Operator records of one step: a small net by hand, what is folded, left out and unknown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from planner.config.step import Mode, OptimizerName, StepConfig
from planner.config.target import Target
from planner.wire.module_counts import ModelCounts
from planner.wire.trace import FlopSource, OperatorRecord, Phase, TensorShape
from planner.worker.count.call_flops import call_flops
from planner.worker.count.inspection import inspect_model
from planner.worker.count.module_path import ModulePath
from planner.worker.count.observer import OperatorObserver
from planner.worker.count.operator_rules import is_elementwise
from planner.worker.count.traffic import moved_bytes
from planner.worker.target.contract import load

WriteModel = Callable[..., Target]
CPU = torch.device("cpu")
B = 4
F32 = 4  # bytes
FORWARD, LOSS, BACKWARD, OPTIMIZER = (
    Phase.FORWARD, Phase.LOSS, Phase.BACKWARD, Phase.OPTIMIZER_STEP,
)  # fmt: skip
MLP = """
import torch
from torch import nn
def build_model():
    return nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2))
def build_batch(batch_size):
    return torch.rand(batch_size, 3)
def training_step(model, batch):
    return (model(batch) ** 2).sum()
"""
Shape = tuple[int, ...]


def counted(target: Target, depth: int = 0, **options: Any) -> ModelCounts:
    return inspect_model(load(target), StepConfig(batch_size=B, **options), CPU, depth)


def row(record: OperatorRecord) -> tuple[Any, ...]:
    """A record as the tables here have it: elements in the place of bytes, all in float32."""
    assert {tensor.dtype for tensor in (*record.inputs, *record.outputs)} == {"float32"}
    return (
        record.phase,
        record.name.removeprefix("aten::"),
        [tensor.shape for tensor in record.inputs],
        [tensor.shape for tensor in record.outputs],
        record.flops,
        record.read_bytes / F32,
        record.written_bytes / F32,
    )


def test_a_step_of_a_small_net_by_hand(write_model: WriteModel) -> None:
    found = counted(write_model(MLP), optimizer=OptimizerName.SGD)
    hidden, out = (B, 5), (B, 2)
    first, second = 2 * B * 3 * 5, 2 * B * 5 * 2
    # The gradient of sum() is one element, expanded; of the first layer's input there is none.
    assert [row(record) for record in found.operators] == [
        (FORWARD, "addmm", [(5,), (B, 3), (3, 5)], [hidden], first, 5 + B * 3 + 15, B * 5),
        (FORWARD, "relu", [hidden], [hidden], None, B * 5, B * 5),
        (FORWARD, "addmm", [(2,), hidden, (5, 2)], [out], second, 2 + B * 5 + 10, B * 2),
        (LOSS, "pow", [out], [out], None, B * 2, B * 2),
        (LOSS, "sum", [out], [()], None, B * 2, 1),
        (BACKWARD, "ones_like", [()], [()], None, 0, 1),
        (BACKWARD, "pow", [out], [out], None, B * 2, B * 2),
        (BACKWARD, "mul", [out], [out], None, B * 2, B * 2),
        (BACKWARD, "mul", [out, out], [out], None, 1 + B * 2, B * 2),
        (BACKWARD, "mm", [out, (2, 5)], [hidden], second, B * 2 + 10, B * 5),
        (BACKWARD, "mm", [(2, B), hidden], [(2, 5)], second, B * 2 + B * 5, 10),
        (BACKWARD, "sum", [out], [(1, 2)], None, B * 2, 2),
        (BACKWARD, "threshold_backward", [hidden, hidden], [hidden], None, 2 * B * 5, B * 5),
        (BACKWARD, "mm", [(5, B), (B, 3)], [(5, 3)], first, B * 5 + B * 3, 15),
        (BACKWARD, "sum", [hidden], [(1, 5)], None, B * 5, 5),
        (OPTIMIZER, "add_", [(5, 3), (5, 3)], [(5, 3)], None, 2 * 15, 15),
        (OPTIMIZER, "add_", [(5,), (5,)], [(5,)], None, 2 * 5, 5),
        (OPTIMIZER, "add_", [(2, 5), (2, 5)], [(2, 5)], None, 2 * 10, 10),
        (OPTIMIZER, "add_", [(2,), (2,)], [(2,)], None, 2 * 2, 2),
    ]
    assert {record.calls for record in found.operators} == {1}
    assert found.step.step_flops == 2 * first + 3 * second
    sources = {record.flop_source for record in found.operators if record.flops is None}
    assert sources == {FlopSource.ELEMENTWISE}


def test_the_optimizer_is_seen_with_its_state_made(write_model: WriteModel) -> None:
    found = counted(write_model(MLP), optimizer=OptimizerName.SGD_MOMENTUM)
    names = [record.name for record in found.operators if record.phase is OPTIMIZER]
    # The first step of all clones each gradient as its momentum.
    assert set(names) == {"aten::mul_", "aten::add_"}


def test_without_an_optimizer_nothing_is_stepped(write_model: WriteModel) -> None:
    found = counted(write_model(MLP), optimizer=OptimizerName.NONE)
    assert {record.phase for record in found.operators} == {FORWARD, LOSS, BACKWARD}


def test_inference_is_the_forward_alone(write_model: WriteModel) -> None:
    target = write_model(MLP)
    trained, inferred = counted(target), counted(target, mode=Mode.INFER)
    forward = [record for record in trained.operators if record.phase is FORWARD]
    assert list(inferred.operators) == forward
    assert inferred.step.step_flops == inferred.forward_flops_by_torch == 2 * B * (15 + 10)
    assert inferred.step.forward_flops_per_sample == trained.step.forward_flops_per_sample
    assert inferred.modules[0].saved_bytes == 0
    assert not any("optimizer" in text for text in inferred.assumptions)


def test_checkpointed_layers_compute_their_forward_again_in_backward(
    write_model: WriteModel,
) -> None:
    target = write_model(
        "import torch\n"
        "from torch import nn\n"
        "def build_model():\n"
        "    block = lambda: nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 3))\n"
        "    return nn.Sequential(block(), block())\n"
        "def build_batch(batch_size):\n"
        "    return torch.rand(batch_size, 3)\n"
    )
    kept, recomputed = counted(target), counted(target, checkpoint_activations=True)
    assert recomputed.step.forward_flops_per_sample == kept.step.forward_flops_per_sample
    added = recomputed.step.step_flops - kept.step.step_flops
    # Recomputation ends when all that was saved is there: a block's last product is not needed.
    assert added == 2 * (2 * B * 3 * 5)


def test_the_model_alone_is_counted_as_its_row_among_others(write_model: WriteModel) -> None:
    target = write_model(MLP)
    alone, among = counted(target), counted(target, depth=2)
    assert alone.modules == among.modules[:1]
    assert (alone.step, alone.operators) == (among.step, among.operators)


def observed(function: Callable[[], Any], device: torch.device = CPU) -> tuple[OperatorRecord, ...]:
    observer = OperatorObserver(ModulePath(nn.Identity()))
    observer.phase = FORWARD
    with observer:
        function()
    return observer.records(device)


def test_alike_calls_are_one_record_in_order_of_first_appearance() -> None:
    x, y = torch.rand(3, 5), torch.rand(5, 3)

    def run() -> None:
        for _ in range(3):
            x @ y
            x.exp()
        x.T.exp()  # as many elements in another shape

    found = observed(run)
    assert [(record.name, record.inputs[0].shape, record.calls) for record in found] == [
        ("aten::mm", (3, 5), 3), ("aten::exp", (3, 5), 3), ("aten::exp", (5, 3), 1),
    ]  # fmt: skip
    assert found[0].flops == 2 * 3 * 5 * 3
    assert found[0].total_flops == 3 * found[0].flops


def test_a_tensor_that_comes_twice_is_read_once() -> None:
    x, y = torch.rand(7), torch.rand(7)
    twice, two = observed(lambda: (x * x, x * y))
    assert (twice.read_bytes, two.read_bytes) == (F32 * 7, F32 * 14)


def test_calls_that_differ_in_a_number_alone_cost_what_each_costs() -> None:
    x, w = torch.rand(1, 4, 5, 5), torch.rand(4, 4, 3, 3)
    functional: Any = nn.functional
    near, far = observed(lambda: [functional.conv2d(x, w, stride=stride) for stride in (1, 2)])
    assert (near.flops, far.flops) == (2 * 4 * 9 * 36, 2 * 4 * 4 * 36)


def test_views_and_memory_without_values_are_left_out() -> None:
    x = torch.rand(3, 5)
    assert observed(lambda: (x.t(), x[0], torch.empty_like(x), x.detach().unsqueeze_(0))) == ()


def test_lists_are_folded_and_written_in_place() -> None:
    weights = [torch.rand(3), torch.rand(2, 2), torch.rand(3)]
    gradients = [torch.rand_like(weight) for weight in weights]
    (record,) = observed(lambda: torch._foreach_add_(weights, gradients))
    each = (
        TensorShape(shape=(3,), dtype="float32", number=2),
        TensorShape(shape=(2, 2), dtype="float32"),
    )
    assert (record.name, record.inputs) == ("aten::_foreach_add_", each * 2)
    assert (record.read_bytes, record.written_bytes) == (F32 * 2 * 10, F32 * 10)


def test_a_fused_optimizer_writes_weights_and_state_but_no_gradients() -> None:
    weight = nn.Parameter(torch.rand(6))
    optimizer = torch.optim.AdamW([weight], fused=True)
    weight.grad = torch.rand(6)
    optimizer.step()
    records = {record.name: record for record in observed(optimizer.step)}
    fused = records["aten::_fused_adamw_"]
    step = F32  # the number of steps is a tensor too
    assert (fused.read_bytes, fused.written_bytes) == (F32 * 4 * 6 + step, F32 * 3 * 6)
    assert fused.flop_source is FlopSource.ELEMENTWISE


def test_what_runs_elsewhere_is_no_work_of_the_card() -> None:
    x = torch.rand(3, device="meta")
    on_card = observed(lambda: (torch.rand(3).exp(), x.exp()), torch.device("meta"))
    assert [record.name for record in on_card] == ["aten::exp"]


def test_an_operator_without_any_rule_is_unknown() -> None:
    matrix = torch.eye(3)
    (record,) = observed(lambda: torch.linalg.inv_ex(matrix))
    assert (record.name, record.flops) == ("aten::linalg_inv_ex", None)
    assert record.flop_source is FlopSource.UNKNOWN


def test_what_python_can_replace_is_seen_as_the_kernel_that_runs() -> None:
    upsample, images = nn.Upsample(scale_factor=2), torch.ones(1, 2, 3, 3)
    (record,) = observed(lambda: upsample(images))
    assert record.name == "aten::upsample_nearest2d"


@pytest.mark.parametrize("flat", [False, True], ids=["as declared", "as autocast has them"])
def test_flops_of_recurrent_layers_on_a_card(flat: bool) -> None:
    time, width, gates = 7, 3, 4 * 5
    weights = [torch.rand(gates, width), torch.rand(gates, 5), torch.rand(gates), torch.rand(gates)]
    buffer = torch.cat([weight.reshape(-1) for weight in weights])
    given = [weight.reshape(-1, 1) for weight in weights] if flat else weights
    x, state = torch.rand(time, B, width), torch.rand(1, B, 5)
    args = (x, given, 4, buffer, state, state, 2, 5, 0, 1, False, 0.0, True, False, [], None)
    aten: Any = torch.ops.aten
    assert call_flops(aten._cudnn_rnn.default, args, {}, None) == 2 * time * B * gates * (width + 5)
    read_bytes, _ = moved_bytes(aten._cudnn_rnn.default, args, {}, None)
    weights_read = gates * (width + 5 + 1 + 1)  # the buffer is the same memory
    assert read_bytes == F32 * (time * B * width + weights_read + B * 5)


def test_flops_are_those_of_the_flop_counter() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.GELU(), nn.Flatten(), nn.Linear(16, 8))
    images = torch.rand(2, 3, 4, 4)

    def step() -> Tensor:
        loss: Tensor = model(images).sum()
        loss.backward()  # type: ignore[no-untyped-call] # untyped in torch
        return loss

    with FlopCounterMode(display=False) as counter:
        step()
    assert sum(record.total_flops for record in observed(step)) == counter.get_total_flops() > 0


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("aten::gelu_backward", True),
        ("aten::native_layer_norm_backward", True),
        ("aten::cudnn_batch_norm_backward", True),
        ("aten::_fused_rms_norm", True),
        ("aten::_log_softmax_backward_data", True),
        ("aten::embedding_dense_backward", True),
        ("aten::max_pool2d_with_indices_backward", True),
        ("aten::nll_loss_forward", True),
        ("aten::_foreach_addcdiv_", True),
        ("aten::_fused_adamw_", True),
        ("aten::_amp_foreach_non_finite_check_and_unscale_", True),
        ("aten::linalg_svd", False),
        ("aten::_fft_r2c", False),
        ("aten::mm", False),
        ("my::mul", False),
    ],
)
def test_names_of_light_operators(name: str, expected: bool) -> None:
    assert is_elementwise(name) is expected
