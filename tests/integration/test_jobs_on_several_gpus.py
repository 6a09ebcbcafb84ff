"""Jobs on several GPUs: PyTorch's own code on one rank, against hand arithmetic."""

from __future__ import annotations

from typing import Any

import pytest

import planner
from planner.config.parse import step_config
from planner.errors import UsageError
from planner.memory.peak import breakdown
from planner.results.reading import estimate_of
from planner.wire.trace import RunOutcome, StepTrace, TensorCategory
from tests.integration.child_runs import (
    PLANNED,
    WriteModel,
    block_of_matrices,
    net_of_blocks,
    running,
    traces,
)

LAYERS, WIDTH, ROWS = 4, 512, 64
BLOCKS = net_of_blocks(block_of_matrices(WIDTH), layers=LAYERS, width=WIDTH) + PLANNED
# On two ranks the first has the largest of three tensors, and the second the two others.
UNEQUAL = """
def build_model():
    return nn.Sequential(nn.Linear(512, 512, bias=False), nn.Linear(512, 384, bias=False),
                         nn.Linear(384, 512, bias=False))

def build_batch(batch_size):
    return torch.randn(batch_size, 512)

def training_step(model, batch):
    return model(batch).mean()
"""
MATRICES = 2 * LAYERS
MATRIX_BYTES = WIDTH * WIDTH * 4
MODEL_BYTES = MATRICES * MATRIX_BYTES
# The allocator leaves a rest of up to 1 MiB in a block.
REST_BYTES = 1 << 20
STEP_BYTES = 512  # the block of AdamW's count of steps, one for each parameter


@pytest.mark.parametrize(
    ("options", "share"),
    [
        pytest.param({"num_gpus": 8, "parallel": "fsdp"}, 8, id="fsdp=8"),
        pytest.param({"num_gpus": 8, "parallel": "hsdp=2x4"}, 4, id="hsdp=2x4"),
        pytest.param({"num_gpus": 512, "parallel": "fsdp"}, 512, id="fsdp=512"),
        pytest.param({"num_gpus": 2, "parallel": "tp=2"}, 2, id="tp=2"),
        pytest.param({"num_gpus": 8, "parallel": "fsdp=4,tp=2"}, 8, id="fsdp=4,tp=2"),
        pytest.param({"num_gpus": 4, "parallel": "ddp"}, 1, id="ddp=4"),
    ],
)
def test_a_rank_holds_its_share_of_parameters_and_state(
    write_model: WriteModel, options: dict[str, Any], share: int
) -> None:
    with running(write_model(BLOCKS)) as (runner, profile):
        config = step_config({"batch_size": ROWS, "optimizer": "adamw-fused", **options})
        trace, allocations = runner.record(profile, config)
    assert trace.failure is None, trace.failure
    assert allocations is not None
    assert trace.counts is not None
    assert trace.counts.parameters == MATRICES * WIDTH * WIDTH, "of all ranks together"
    sums = breakdown(allocations).by_category()
    assert sums[TensorCategory.PARAMETER.value] == MODEL_BYTES // share
    state = sums[TensorCategory.OPTIMIZER_STATE.value]
    assert state == 2 * MODEL_BYTES // share + MATRICES * STEP_BYTES


def test_ddp_takes_one_gradient_more_than_one_gpu(write_model: WriteModel) -> None:
    alone, ddp, views = traces(
        write_model(BLOCKS),
        {"batch_size": ROWS},
        {"batch_size": ROWS, "num_gpus": 2},
        {
            "batch_size": ROWS, "num_gpus": 2,
            "parallel_arguments": {"gradient_as_bucket_view": True},
        },
    )  # fmt: skip
    buckets_bytes = ddp.peak_allocated_bytes - alone.peak_allocated_bytes
    assert 0 <= buckets_bytes - MODEL_BYTES <= REST_BYTES
    # As views of the buckets, gradients take no memory of their own.
    assert abs(views.peak_allocated_bytes - alone.peak_allocated_bytes) <= REST_BYTES


def test_zero1_reports_the_rank_with_most_state(write_model: WriteModel) -> None:
    found = planner.estimate(
        write_model(UNEQUAL), gpu="a100", batch_size=ROWS, num_gpus=2, parallel="zero1",
        max_batch=False,
    )  # fmt: skip
    ranks = found.ranks
    assert ranks is not None
    assert ranks.worst == 1
    assert [row.role for row in ranks.rows] == [
        "steps 40 % of the parameters", "steps 60 % of the parameters"
    ]  # fmt: skip
    first, second = (row.peak_allocated_bytes for row in ranks.rows)
    assert first is not None
    assert second is not None
    assert found.gpus[0].peak_allocated_bytes == second
    # Two states of float32 for a fifth of 655,360 parameters more.
    assert abs(second - first - 2 * 4 * 131_072) <= REST_BYTES
    document = found.to_dict()
    assert document["config"]["parallel"] is not None
    assert document["config"]["parallel"]["rank"] == ranks.worst
    assert document["ranks"] == ranks.to_dict()
    assert estimate_of(document).ranks == ranks


def test_the_files_own_parallelize_comes_first(write_model: WriteModel) -> None:
    own = """
def parallelize(model, mesh):
    from torch.distributed.fsdp import fully_shard
    assert mesh.mesh_dim_names == ("dp_shard",), mesh
    fully_shard(model, mesh=mesh)
"""
    (whole,) = traces(write_model(BLOCKS + own), {"batch_size": ROWS, "num_gpus": 4,
                                                 "parallel": "fsdp"})  # fmt: skip
    (blocks,) = traces(write_model(BLOCKS, "blocks.py"), {"batch_size": ROWS, "num_gpus": 4,
                                                         "parallel": "fsdp"})  # fmt: skip
    assert "the model file's own parallelize(model, mesh)" in whole.assumptions
    # In one unit, all matrices are gathered at once.
    assert whole.peak_allocated_bytes >= blocks.peak_allocated_bytes + 4 * MATRIX_BYTES


def test_autocast_is_left_to_the_files_own_plan(write_model: WriteModel) -> None:
    own = """
def parallelize(model, mesh):
    from torch.distributed.fsdp import fully_shard
    fully_shard(model, mesh=mesh)
"""
    asks = BLOCKS.replace(
        "    return model(batch).mean()",
        "    assert torch.is_autocast_enabled('cuda') is EXPECTED\n    return model(batch).mean()",
    )
    options = {"batch_size": ROWS, "num_gpus": 4, "parallel": "fsdp", "precision": "amp-bf16"}
    # FSDP's own policy is in the place of autocast where planner makes the plan.
    traces(write_model(asks.replace("EXPECTED", "False")), options)
    traces(write_model(asks.replace("EXPECTED", "True") + own, "own.py"), options)


def test_knobs_do_not_change_the_files_own_plan(write_model: WriteModel) -> None:
    path = write_model(BLOCKS + "def parallelize(model, mesh):\n    pass\n")
    knob = {"reshard_after_forward": False}
    with running(path) as (runner, profile), pytest.raises(UsageError, match="set it there"):
        runner.run(
            profile,
            step_config({"num_gpus": 2, "parallel": "fsdp", "parallel_arguments": knob}),
        )


def test_the_parameters_of_fsdp1_are_counted_before_it_shards(write_model: WriteModel) -> None:
    own = """
def parallelize(model, mesh):
    from torch.distributed.fsdp import FullyShardedDataParallel

    def placed(module):
        for name, one in list(module.named_parameters(recurse=False)):
            setattr(module, name, nn.Parameter(torch.empty_like(one, device="cuda")))

    return FullyShardedDataParallel(
        model, device_mesh=mesh, use_orig_params=True, param_init_fn=placed
    )
"""
    (trace,) = traces(write_model(BLOCKS + own), {"batch_size": ROWS, "num_gpus": 4,
                                                 "parallel": "fsdp"})  # fmt: skip
    assert trace.counts is not None
    assert trace.counts.parameters == MATRICES * WIDTH * WIDTH


@pytest.mark.parametrize(
    ("own", "said"),
    [
        pytest.param(
            'mesh["dp"]', 'the mesh that it is given has mesh["dp_shard"]', id="another name"
        ),
        pytest.param(
            'init_device_mesh("cuda", (4,))["dp"]',
            'init_device_mesh("cuda", (4,), mesh_dim_names=("dp_shard",))',
            id="a mesh without names",
        ),
        pytest.param(
            "None", "4 GPUs were asked for (--num-gpus), and in no step did they send",
            id="nothing is shared",
        ),
        pytest.param(
            "store.get('ready')", "key ready of a store, and nobody has set it",
            id="a wait for another rank",
        ),
    ],
)  # fmt: skip
def test_a_plan_of_the_file_that_cannot_be_meant(
    write_model: WriteModel, own: str, said: str
) -> None:
    plan = f"""
def parallelize(model, mesh):
    import torch.distributed as dist
    from torch.distributed.device_mesh import init_device_mesh

    store = dist.distributed_c10d._get_default_store()
    {own}
"""
    trace = failed(write_model(BLOCKS + plan), num_gpus=4, parallel="fsdp")
    assert trace.failure is not None
    assert said in trace.failure.message


def failed(path: str, **options: Any) -> StepTrace:
    """The trace of a run that fails."""
    with running(path) as (runner, profile):
        found = runner.run(profile, step_config({"batch_size": ROWS, **options}))
    assert found.outcome is RunOutcome.MODEL_ERROR
    return found


@pytest.mark.parametrize(
    ("options", "said"),
    [
        pytest.param(
            {"parallel": "fsdp", "parallel_arguments": {"wrap": "Blok"}},
            "did you mean Block", id="a plan that wraps nothing",
        ),
        pytest.param(
            {"parallel": "fsdp", "parallel_arguments": {"wrap": "ModuleList"}},
            "names only containers", id="a plan that wraps a container",
        ),
        pytest.param(
            {"parallel": "fsdp", "precision": "amp-fp16"}, "take --precision amp-bf16",
            id="a GradScaler",
        ),
        pytest.param({"parallel": "fsdp", "mode": "infer"}, "leave one of the two out", id="infer"),
        pytest.param({"parallel": "fsdp", "ema": True}, "--ema and several GPUs", id="ema"),
        pytest.param({"parallel": "cp=2"}, "take a sequence of 512", id="odd sequences"),
    ],
)  # fmt: skip
def test_what_cannot_be_spread_is_refused(
    write_model: WriteModel, options: dict[str, Any], said: str
) -> None:
    path = write_model(
        BLOCKS.replace("torch.randn(batch_size, 512)", "torch.randn(batch_size, 510)")
    )
    with running(path) as (runner, profile), pytest.raises(UsageError) as raised:
        runner.run(profile, step_config({"batch_size": ROWS, "num_gpus": 2, **options}))
    assert said in str(raised.value)


def test_a_model_without_a_plan_cannot_be_divided(write_model: WriteModel) -> None:
    path = write_model(BLOCKS.replace("net.tp_plan", "net.other"))
    with running(path) as (runner, profile), pytest.raises(UsageError, match="tp_plan"):
        runner.run(profile, step_config({"batch_size": ROWS, "num_gpus": 2, "parallel": "tp=2"}))
