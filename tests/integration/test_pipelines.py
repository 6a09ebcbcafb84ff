"""Pipelines: stages that are made of the user's whole model, against hand arithmetic."""

from __future__ import annotations

from typing import Any

import pytest

import planner
from planner.config.parse import step_config
from planner.errors import UsageError
from planner.memory.peak import breakdown
from planner.wire.trace import TensorCategory
from tests.integration.child_runs import WriteModel, block_of_matrices, running, traces

WIDTH, ROWS, LAYERS, MATRICES = 512, 64, 8, 2
MATRIX_BYTES = WIDTH * WIDTH * 4
HIDDEN_BYTES = ROWS * WIDTH * 4
BLOCK_BYTES = MATRICES * MATRIX_BYTES
STEP_BYTES = 512  # the block of AdamW's count of steps, one for each parameter
NET = f"""
import torch
from torch import nn
{block_of_matrices(WIDTH)}
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear({WIDTH}, {WIDTH}, bias=False)
        self.blocks = nn.ModuleList(Block() for _ in range({LAYERS}))
        self.last = nn.Linear({WIDTH}, {WIDTH}, bias=False)

    def forward(self, x):
        x = self.first(x)
        for block in self.blocks:
            x = block(x)
        return self.last(x)

def build_model():
    return Net()

def build_batch(batch_size):
    return torch.randn(batch_size, {WIDTH})
"""
STEP = """
def training_step(model, batch):
    return model(batch).mean()
"""
PIPELINE = {"batch_size": ROWS, "num_gpus": 4, "parallel": "pp=4", "optimizer": "adamw-fused"}


def held_bytes(path: str, rank: int, **options: Any) -> tuple[int, int]:
    """Bytes of parameters and of optimizer state on a rank."""
    from dataclasses import replace

    with running(path) as (runner, profile):
        config = step_config({**PIPELINE, **options})
        assert config.parallel is not None
        config = replace(config, parallel=replace(config.parallel, rank=rank))
        trace, allocations = runner.record(profile, config)
    assert trace.failure is None, trace.failure
    assert allocations is not None
    sums = breakdown(allocations).by_category()
    state = TensorCategory.OPTIMIZER_STATE.value
    return sums[TensorCategory.PARAMETER.value], sums[state]


# 8 blocks, and the two ends as a block each, on 4 ranks: 3 - 1, 3, 2, 2 - 1.
@pytest.mark.parametrize(("rank", "blocks", "ends"), [(0, 2, 1), (1, 3, 0), (2, 2, 0), (3, 1, 1)])
def test_a_stage_holds_its_blocks_and_their_state(
    write_model: WriteModel, rank: int, blocks: int, ends: int
) -> None:
    parameters, state = held_bytes(write_model(NET + STEP), rank)
    expected = blocks * BLOCK_BYTES + ends * MATRIX_BYTES
    assert parameters == expected
    assert state == 2 * expected + (blocks * MATRICES + ends) * STEP_BYTES


def test_stages_of_one_rank_are_held_together(write_model: WriteModel) -> None:
    # A V of 4 stages on 2 ranks, split as asked: rank 0 has the first and the last stage.
    options = {
        "num_gpus": 2, "parallel": "pp=2,zbv", "parallel_arguments": {"split": "1:3:3:1"},
    }  # fmt: skip
    parameters, _ = held_bytes(write_model(NET + STEP), 0, **options)
    assert parameters == 2 * BLOCK_BYTES + 2 * MATRIX_BYTES


def test_1f1b_holds_as_many_micro_batches_as_stages_come_after(write_model: WriteModel) -> None:
    path = write_model(NET + STEP)
    few, many = traces(path, {**PIPELINE, "microbatches": 8}, {**PIPELINE, "microbatches": 12})
    # Four micro-batches are under way in the first stage, however many there are. Each of the four
    # others has its batch, and a buffer for the gradient that comes back.
    more_bytes = many.peak_allocated_bytes - few.peak_allocated_bytes
    assert more_bytes == 4 * 2 * HIDDEN_BYTES
    gpipe, gpipe_more = traces(
        path,
        {**PIPELINE, "parallel": "pp=4,gpipe", "microbatches": 8},
        {**PIPELINE, "parallel": "pp=4,gpipe", "microbatches": 12},
    )
    # All are: a block keeps its input and its inner activation; the stage gives its output away.
    held = gpipe_more.peak_allocated_bytes - gpipe.peak_allocated_bytes
    assert held >= 4 * (2 + 2 * 2) * HIDDEN_BYTES


def test_the_loops_own_loss_is_that_of_the_last_stage(write_model: WriteModel) -> None:
    source = (NET + STEP).replace(
        "    return model(batch).mean()",
        "    with torch.autocast('cuda', dtype=torch.bfloat16):\n"
        "        output = model(batch)\n"
        "    assert output.dtype is torch.bfloat16, output.dtype\n"
        "    return output.float().mean()",
    )
    config = {**PIPELINE, "num_gpus": 2, "parallel": "pp=2"}
    from dataclasses import replace

    with running(write_model(source)) as (runner, profile):
        asked = step_config(config)
        assert asked.parallel is not None
        last = replace(asked, parallel=replace(asked.parallel, rank=1))
        assert runner.run(profile, last).failure is None
        assert runner.run(profile, asked).failure is None
    # Without a training_step it is the mean of the outputs, here of a tuple.
    plain = NET.replace("        return self.last(x)", "        return self.last(x), None")
    with running(write_model(plain, "plain.py")) as (runner, profile):
        assert runner.run(profile, last).failure is None


def test_the_report_has_each_stage_and_its_bubble(write_model: WriteModel) -> None:
    found = planner.estimate(
        write_model(NET + STEP), gpu="a100", batch_size=ROWS, num_gpus=8, parallel="pp=2,fsdp=4",
        microbatches=6, max_batch=False,
    )  # fmt: skip
    ranks, time = found.ranks, found.gpus[0].time
    assert ranks is not None
    assert time is not None
    assert [(row.first, row.last, row.role) for row in ranks.rows] == [
        (0, 3, "stage 0 of 2: 4 blocks, with the first layers"),
        (4, 7, "stage 1 of 2: 4 blocks, with the loss"),
    ]
    peaks = [row.peak_reserved_bytes for row in ranks.rows]
    assert None not in peaks
    assert found.gpus[0].peak_reserved_bytes == max(peak for peak in peaks if peak is not None)
    assert time.bubble_s is not None
    assert 0 < time.bubble_s < time.step_s
    samples = time.samples_per_s * time.step_s
    assert round(samples) == ROWS * 6 * 4
    document = found.to_dict()["config"]["parallel"]
    assert document is not None
    assert document["pipeline_options"] == {
        "schedule": "1f1b", "microbatches": 6, "stages_of_a_rank": 1, "split": [],
    }  # fmt: skip


OWN = """
SCHEDULE = []

def parallelize(model, mesh):
    from torch.distributed.pipelining import PipelineStage, Schedule1F1B
    rank = mesh["pp"].get_local_rank()
    parts = [model.first, *model.blocks, model.last]
    part = nn.Sequential(*parts[5 * rank : 5 * rank + 5])
    shape = torch.empty(16, 512, device="meta", requires_grad=True)
    SHAPES
    stage = PipelineStage(part, rank, 2, torch.device("cuda", 0), group=mesh["pp"].get_group(),
                          **shapes)
    SCHEDULE[:] = [Schedule1F1B(stage, 4, loss_fn=lambda output, _: output.mean())]
    return part

def training_step(model, batch, optimizer):
    optimizer.zero_grad()
    if SCHEDULE[0]._stage.is_first:
        SCHEDULE[0].step(batch)
    else:
        SCHEDULE[0].step(target=batch)
    optimizer.step()
"""


def test_a_file_makes_its_own_stages(write_model: WriteModel) -> None:
    given = "shapes = {'input_args': (shape,), 'output_args': (shape,)}"
    found = planner.estimate(
        write_model(NET + OWN.replace("SHAPES", given)), gpu="a100", batch_size=ROWS, num_gpus=2,
        parallel="pp=2", max_batch=False, optimizer="adamw-fused",
    )  # fmt: skip
    assert found.ranks is not None
    assert [row.role for row in found.ranks.rows] == [
        "place 0 of the pipeline", "place 1 of the pipeline"
    ]  # fmt: skip
    peaks = [row.peak_allocated_bytes for row in found.ranks.rows]
    assert None not in peaks
    # Half of the model, its gradients and its AdamW state.
    least = 4 * (LAYERS // 2 * BLOCK_BYTES + MATRIX_BYTES)
    for peak in peaks:
        assert peak is not None
        # Four micro-batches of activations come on top, and what torch keeps for its products.
        assert least < peak < 2 * least


def test_stages_of_a_file_need_their_shapes(write_model: WriteModel) -> None:
    path = write_model(NET + OWN.replace("SHAPES", "shapes = {}"))
    asked = step_config({"batch_size": ROWS, "num_gpus": 2, "parallel": "pp=2"})
    with running(path) as (runner, profile), pytest.raises(UsageError, match="its input_args"):
        runner.run(profile, asked)


RETURNED = NET.replace(
    "            x = block(x)",
    "            y = block(x)\n            x = y if block is self.blocks[0] else y + self.kept\n"
    "            self.kept = y if block is self.blocks[0] else self.kept",
)
TWICE = NET.replace("            x = block(x)", "            x = block(block(x))")
OWN_STEP = """
def training_step(model, batch, optimizer):
    model(batch).mean().backward()
    optimizer.step()
"""
TWO_CALLS = """
def training_step(model, batch):
    return model(batch).mean() + model(batch).mean()
"""


@pytest.mark.parametrize(
    ("source", "options", "said"),
    [
        pytest.param(RETURNED + STEP, {}, "uses what blocks.0 returns after", id="a skip"),
        pytest.param(TWICE + STEP, {}, "calls blocks.0 several times", id="called twice"),
        pytest.param(NET + OWN_STEP, {}, "let it return a loss", id="a step of its own"),
        pytest.param(NET + TWO_CALLS, {}, "it has done so 2 times", id="two calls"),
        pytest.param(NET + STEP, {"num_gpus": 16, "parallel": "pp=16"}, "take fewer", id="stages"),
        pytest.param(NET + STEP, {"accumulate": 2}, "take --microbatches 16", id="accumulate"),
    ],
)
def test_what_cannot_be_a_pipeline_is_refused(
    write_model: WriteModel, source: str, options: dict[str, Any], said: str
) -> None:
    with running(write_model(source)) as (runner, profile), pytest.raises(UsageError) as raised:
        runner.run(profile, step_config({**PIPELINE, **options}))
    assert said in str(raised.value)
