"""FSDP's CPUOffloadPolicy: what is on the card and on the host, against hand arithmetic."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

import planner
from planner.config.parse import step_config
from planner.errors import UsageError
from planner.memory.peak import breakdown
from planner.wire.offload import OffloadedShards
from planner.wire.trace import TensorCategory
from tests.integration.child_runs import (
    WriteModel,
    block_of_matrices,
    net_of_blocks,
    running,
    traces,
)

pytestmark = pytest.mark.slow

LAYERS, WIDTH, ROWS, RANKS = 4, 512, 64, 8
BLOCKS = net_of_blocks(block_of_matrices(WIDTH), layers=LAYERS, width=WIDTH)
OWN = """
def parallelize(model, mesh):
    from torch.distributed.fsdp import CPUOffloadPolicy, fully_shard
    policy = CPUOffloadPolicy(pin_memory=False)
    fully_shard(model, mesh=mesh["dp_shard"], offload_policy=policy)
"""
# The same step as a script, whose shards and AdamW are on this host for real.
SCRIPT = f"""
import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import CPUOffloadPolicy, fully_shard
from model import build_batch, build_model

dist.init_process_group("nccl")
mesh = init_device_mesh("cuda", ({RANKS},), mesh_dim_names=("dp_shard",))
with torch.device("meta"):
    model = build_model()
given = {{"mesh": mesh, "offload_policy": CPUOffloadPolicy()}}
last = len(model.blocks) - 1
for number, block in enumerate(model.blocks):
    fully_shard(block, reshard_after_forward=number < last, **given)
fully_shard(model, **given)
model.to_empty(device="cpu")
for parameter in model.parameters():
    torch.nn.init.zeros_(parameter)
optimizer = torch.optim.AdamW(model.parameters())
for step in range(3):
    batch = build_batch({ROWS}).cuda()
    optimizer.zero_grad()
    loss = model(batch).mean()
    loss.backward()
    optimizer.step()
assert all(one.grad.device.type == "cpu" for one in model.parameters())
dist.destroy_process_group()
"""
MATRIX_BYTES = WIDTH * WIDTH * 4
SHARD_BYTES = MATRIX_BYTES // RANKS
MATRICES = 2 * LAYERS
MODEL_BYTES = MATRICES * MATRIX_BYTES
STEP_BYTES = 4  # AdamW's count of steps, a scalar for each parameter


def options(**changes: Any) -> dict[str, Any]:
    return {
        "batch_size": ROWS, "num_gpus": RANKS, "parallel": "fsdp",
        "parallel_arguments": {"cpu_offload": True}, **changes,
    }  # fmt: skip


def shards(path: str, **changes: Any) -> OffloadedShards:
    """What a counted step keeps on the host."""
    with running(path) as (runner, profile):
        counted = runner.inspect(profile, step_config(options(**changes)), 0)
    assert counted.offloaded is not None
    assert counted.offloaded.shards is not None
    return counted.offloaded.shards


def test_parameters_gradients_and_states_are_on_the_host(write_model: WriteModel) -> None:
    found = shards(write_model(BLOCKS))
    assert found.parameter_sizes_bytes == (SHARD_BYTES,) * MATRICES
    assert found.gradient_sizes_bytes == (SHARD_BYTES,) * MATRICES
    assert found.state_bytes == MATRICES * (2 * SHARD_BYTES + STEP_BYTES)
    # Each parameter is gathered in forward; the last block stays so for backward.
    assert found.to_card_forward_bytes == MATRICES * SHARD_BYTES
    assert found.to_card_backward_bytes == (MATRICES - 2) * SHARD_BYTES
    assert found.largest_unit_bytes == 2 * SHARD_BYTES
    assert found.pinned
    # By AdamW's ops: mul_ 2, lerp_ 3, mul_ 2, addcmul_ 3, sqrt 2, div 2, add_ 2, addcdiv_ 4.
    of_weights = 20 * MATRICES * SHARD_BYTES
    assert of_weights <= found.update_bytes <= of_weights + MATRICES * 100


def test_rows_that_cannot_be_dealt_out_are_padded_on_the_first_rank(
    write_model: WriteModel,
) -> None:
    found = shards(write_model(BLOCKS), num_gpus=7)
    # 74 rows of 512 on the first of 7 ranks.
    assert found.parameter_sizes_bytes == (74 * WIDTH * 4,) * MATRICES


def test_the_card_keeps_no_shard(write_model: WriteModel) -> None:
    with running(write_model(BLOCKS)) as (runner, profile):
        trace, allocations = runner.record(profile, step_config(options()))
    assert trace.failure is None, trace.failure
    assert allocations is not None
    sums = breakdown(allocations).by_category()
    kept = (TensorCategory.PARAMETER, TensorCategory.GRADIENT, TensorCategory.OPTIMIZER_STATE)
    assert not any(sums.get(one.value) for one in kept)


def test_the_peak_is_that_of_a_script_with_real_shards(
    write_model: WriteModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = traces(write_model(BLOCKS), options())[0]
    (tmp_path / "model.py").write_text("import torch\nfrom torch import nn\n" + BLOCKS)
    (tmp_path / "train.py").write_text(SCRIPT)
    monkeypatch.chdir(tmp_path)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(RANKS)]
    ran = planner.run([*torchrun, "train.py"], gpu="a100", max_batch=False).gpus[0]
    assert ran.peak_allocated_bytes == planned.peak_allocated_bytes
    assert ran.peak_reserved_bytes == planned.peak_reserved_bytes


def test_ram_and_time_of_a_machine(write_model: WriteModel) -> None:
    path = write_model(BLOCKS)
    found = planner.estimate(path, gpu="h100", host="dgx-h100", max_batch=False, **options())
    host, time = found.gpus[0].host, found.gpus[0].time
    assert host is not None
    assert time is not None
    # Powers of two are pinned as they are.
    of_a_rank = MATRICES * (4 * SHARD_BYTES + STEP_BYTES)
    assert host.ram.offloaded_bytes == RANKS * of_a_rank
    assert time.offload_copy_s
    assert time.offload_update_s > 0
    document = found.to_dict()
    assert document["config"]["parallel"] is not None
    assert document["config"]["parallel"]["fsdp"]["cpu_offload"] is True
    small = planner.estimate(
        path, gpu="h100", host="dgx-h100", ram="1GiB", max_batch=False, **options()
    )
    assert small.gpus[0].host is not None
    assert small.gpus[0].host.fits is False


def test_the_files_own_policy_is_followed(write_model: WriteModel) -> None:
    found = shards(write_model(BLOCKS + OWN), parallel_arguments={})
    assert not found.pinned
    assert sum(found.parameter_sizes_bytes) == MODEL_BYTES // RANKS
    assert found.largest_unit_bytes == MODEL_BYTES // RANKS


@pytest.mark.parametrize(
    ("changes", "share"),
    [
        pytest.param({"parallel": "hsdp=2x4"}, 4, id="replicas"),
        pytest.param({"clip_grad_norm": 1.0}, RANKS, id="clipping"),
        pytest.param({"accumulate": 2}, RANKS, id="accumulation"),
        pytest.param({"optimizer": "adamw-fused"}, RANKS, id="fused"),
    ],
)
def test_with_other_options(write_model: WriteModel, changes: dict[str, Any], share: int) -> None:
    found = shards(write_model(BLOCKS), **changes)
    assert sum(found.parameter_sizes_bytes) == MODEL_BYTES // share
    assert sum(found.gradient_sizes_bytes) == MODEL_BYTES // share
    assert found.state_bytes == 2 * MODEL_BYTES // share + MATRICES * STEP_BYTES


def test_an_optimizer_that_reads_its_weights_is_refused(write_model: WriteModel) -> None:
    path = write_model(BLOCKS)
    with running(path) as (runner, profile), pytest.raises(UsageError, match="leave cpu_offload"):
        runner.run(profile, step_config(options(optimizer="adafactor")))
