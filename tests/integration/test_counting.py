"""Counting beside runs: what a Runner counts of a step, also where a child serves one run only."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from planner.config.step import Mode, Precision, StepConfig
from planner.errors import ModelError
from planner.wire.kernel_facts import LoopFacts
from planner.wire.trace import Issuer, Phase, RunOutcome
from tests.integration.child_runs import WriteModel, running

MODELS = Path(__file__).parents[2] / "models"
LINEAR = """
def build_model():
    return nn.Linear(3, 5)

def build_batch(batch_size):
    return torch.rand(batch_size, 3)
"""
FORWARD = 2 * 3 * 5  # FLOPs of a sample


@pytest.mark.slow
@pytest.mark.parametrize(
    "import_time", ["", 'torch.zeros(1, device="cuda")'], ids=["forked", "one run in each child"]
)
def test_a_count_beside_runs(write_model: WriteModel, import_time: str) -> None:
    with (
        running(write_model(import_time + LINEAR)) as (runner, profile),
        ThreadPoolExecutor() as pool,
    ):
        config = StepConfig(batch_size=4)
        counting = pool.submit(runner.count, profile, config)
        runs = [runner.run(profile, config).outcome for _ in range(2)]
        assert counting.result().step.step_flops == 2 * 4 * FORWARD  # no gradient of the input
        assert runs == [RunOutcome.COMPLETED] * 2
        assert (runner.single_run is None) == (not import_time)


CHECKPOINTED = """
from torch.utils.checkpoint import checkpoint

class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Sequential(nn.Linear(3, 5), nn.Tanh())
        self.last = nn.Linear(5, 7)

    def forward(self, x):
        return self.last(checkpoint(self.first, x, use_reentrant=False))

def build_model():
    return Twice()

def build_batch(batch_size):
    return torch.rand(batch_size, 3)
"""


@pytest.mark.slow
def test_what_backward_computes_again_is_counted_apart(write_model: WriteModel) -> None:
    first, last = 2 * 4 * 3 * 5, 2 * 4 * 5 * 7  # FLOPs of a batch of 4
    with running(write_model(CHECKPOINTED)) as (runner, profile):
        step = runner.count(profile, StepConfig(batch_size=4)).step
    # Forward, weights of both, input of the last alone, and the first again.
    assert step.step_flops == (first + last) + (first + last) + last + step.recomputed_flops
    assert step.recomputed_flops == first


@pytest.mark.slow
def test_a_count_that_fails_leaves_runs_alone(write_model: WriteModel) -> None:
    with running(write_model(LINEAR.replace("batch_size, 3", "batch_size, 7"))) as (runner, card):
        with pytest.raises(ModelError, match="step 1, batch 4"):
            runner.count(card, StepConfig(batch_size=4))
        assert runner.run(card, StepConfig(batch_size=4)).outcome is RunOutcome.MODEL_ERROR


@pytest.mark.slow
@pytest.mark.parametrize("target", sorted(path.name for path in MODELS.glob("*.py")))
def test_records_hold_all_flops_and_every_operator_has_a_rule(target: str) -> None:
    with running(str(MODELS / target)) as (runner, profile):
        counts = runner.count(profile, StepConfig(batch_size=2, precision=Precision.AMP_FP16))
        inferred = runner.count(profile, StepConfig(batch_size=2, mode=Mode.INFER))
    flops = {
        phase: sum(record.total_flops for record in counts.operators if record.phase is phase)
        for phase in Phase
    }
    assert flops[Phase.FORWARD] == counts.forward_flops_by_torch == inferred.step.step_flops
    assert sum(flops.values()) - flops[Phase.OPTIMIZER_STEP] == counts.step.step_flops
    assert [item.name for item in counts.operators if item.flop_source.value == "unknown"] == []
    assert Phase.OPTIMIZER_STEP in {record.phase for record in counts.operators}


@pytest.mark.slow
def test_a_batch_that_no_host_holds() -> None:
    with running(str(MODELS / "resnet50.py")) as (runner, profile):
        one, many = (
            runner.count(profile, StepConfig(batch_size=size)).step for size in (1, 1 << 14)
        )
    assert many.step_flops == one.step_flops << 14


COMPILED = """
class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(256, 512, bias=False)

    def forward(self, x):
        return torch.sigmoid(self.layer(x)) * 2 + 1

def build_model():
    return torch.compile(Scaled())

def build_batch(batch_size):
    return torch.rand(batch_size, 256)
"""


def test_a_compiled_step_is_one_product_and_one_fused_loop(write_model: WriteModel) -> None:
    rows = 64
    with running(write_model(COMPILED)) as (runner, profile):
        found = runner.count(profile, StepConfig(batch_size=rows, mode=Mode.INFER))
    product, loop = found.operators
    assert (product.name, product.issuer, product.calls) == ("aten::mm", Issuer.COMPILED, 1)
    assert product.flops == found.step.step_flops == 2 * rows * 256 * 512
    assert product.inputs[0].shape == (rows, 256)  # without the tensor that takes the result
    assert loop.name.startswith("inductor::")
    assert (loop.issuer, loop.calls, loop.launches) == (Issuer.COMPILED, 1, 1)
    # it is read and written in place: sigmoid, the factor and the sum in one pass
    assert loop.read_bytes == loop.written_bytes == 4 * rows * 512
    assert loop.loop == LoopFacts(elements=rows * 512, reduced=1)
