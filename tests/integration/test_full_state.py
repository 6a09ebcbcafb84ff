"""The whole state of a job on several GPUs, saved and loaded by PyTorch's own code on one rank."""

from __future__ import annotations

from typing import Any

import pytest

import planner
from planner.config.parse import step_config
from planner.results.reading import estimate_of
from planner.wire.module_counts import ModelCounts
from tests.integration.child_runs import (
    PLANNED,
    WriteModel,
    block_of_matrices,
    net_of_blocks,
    running,
)

LAYERS, WIDTH, ROWS = 4, 512, 64
BLOCKS = net_of_blocks(block_of_matrices(WIDTH), layers=LAYERS, width=WIDTH) + PLANNED
MATRICES = 2 * LAYERS
MATRIX_BYTES = WIDTH * WIDTH * 4  # float32, 1 MiB: the allocator rounds nothing up
MODEL_BYTES = MATRICES * MATRIX_BYTES
STEPS_BYTES = MATRICES * 4  # AdamW's count of steps, for each parameter
FSDP1 = """
def parallelize(model, mesh):
    from torch.distributed.fsdp import FullyShardedDataParallel

    def placed(module):
        for name, one in list(module.named_parameters(recurse=False)):
            setattr(module, name, nn.Parameter(torch.empty_like(one, device="cuda")))

    return FullyShardedDataParallel(
        model, device_mesh=mesh, use_orig_params=True, param_init_fn=placed
    )
"""

# A head of 4 GiB, which saving gathers and a step does not.
WITH_A_HEAD = (
    BLOCKS.replace("self.blocks =", "self.head = nn.Embedding(2_097_152, 512); self.blocks =")
    + """
def parallelize(model, mesh):
    from torch.distributed.fsdp import fully_shard

    for part in (*model.blocks, model.head, model):
        fully_shard(part, mesh=mesh)
"""
)


def counted(path: str, **options: Any) -> ModelCounts:
    """The counts of a step, with what its whole state takes."""
    with running(path) as (runner, profile):
        return runner.count(profile, step_config({"batch_size": ROWS, **options}))


@pytest.mark.parametrize(
    ("parallel", "gathered", "share"),
    [
        pytest.param("fsdp=8", MATRIX_BYTES, 8, id="fsdp"),
        pytest.param("hsdp=2x4", MATRIX_BYTES, 4, id="hsdp"),
        # Of a matrix that is divided by columns too, rows are gathered first: half of it.
        pytest.param("fsdp=4,tp=2", MATRIX_BYTES * 3 // 2, 8, id="fsdp and tp"),
    ],
)
def test_one_parameter_is_gathered_at_a_time(
    write_model: WriteModel, parallel: str, gathered: int, share: int
) -> None:
    found = counted(write_model(BLOCKS), parallel=parallel)
    state = found.full_state
    assert found.full_state_problem == ""
    assert state is not None
    assert state.is_divided
    assert state.model_bytes == MODEL_BYTES
    assert state.optimizer_bytes == 2 * MODEL_BYTES + STEPS_BYTES
    assert state.built_bytes == MODEL_BYTES // share
    assert state.saving_bytes == gathered
    # The last matrix is there twice for a moment, if it is gathered in two parts.
    assert 0 <= state.saving_on_card_bytes - MODEL_BYTES <= gathered - MATRIX_BYTES
    assert state.saving_all_on_card_bytes is not None
    assert 0 <= state.saving_all_on_card_bytes - 3 * MODEL_BYTES <= MATRIX_BYTES
    assert state.loading_bytes == MATRIX_BYTES
    # Each part is new, and replaces the old one at the end.
    assert state.loading_each_bytes >= MATRIX_BYTES + MODEL_BYTES // share


def test_the_messages_of_saving_are_not_those_of_a_step(write_model: WriteModel) -> None:
    found = counted(write_model(BLOCKS), parallel="fsdp=4,tp=2")
    # Loading broadcasts in the group of all ranks, to which a step does not talk.
    assert {one.group for one in found.communicators} == {"dp_shard", "tp"}
    gathered = [one for one in found.collectives if one.group == "dp_shard"]
    # Two all-gathers of a block and a reduce-scatter; the last block stays from forward on.
    assert sum(one.calls for one in gathered) == 3 * LAYERS - 1


def test_a_rank_of_ddp_has_all_and_gathers_nothing(write_model: WriteModel) -> None:
    state = counted(write_model(BLOCKS), parallel="ddp", num_gpus=4).full_state
    assert state is not None
    assert not state.is_divided
    assert state.model_bytes == state.built_bytes == MODEL_BYTES
    assert state.saving_bytes == state.saving_on_card_bytes == 0
    assert state.loading_bytes == state.loading_each_bytes == 0


def test_fsdp1_gathers_its_flat_parameter(write_model: WriteModel) -> None:
    found = counted(write_model(BLOCKS + FSDP1), parallel="fsdp=4")
    state = found.full_state
    assert state is not None
    assert state.is_divided
    assert state.model_bytes == MODEL_BYTES
    # Its only unit is the whole model.
    assert state.saving_bytes == MODEL_BYTES
    # Each rank has the state of other parameters, which a rank alone does not know.
    assert state.optimizer_bytes is None
    assert found.full_state_problem


def test_an_optimizer_that_torch_cannot_gather(write_model: WriteModel) -> None:
    found = counted(write_model(BLOCKS), parallel="zero1", num_gpus=2)
    assert found.full_state is not None
    assert found.full_state.model_bytes == MODEL_BYTES
    assert found.full_state.optimizer_bytes is None
    assert "consolidate_state_dict" in found.full_state_problem


def test_a_state_that_does_not_fit_is_said(write_model: WriteModel) -> None:
    path = write_model(WITH_A_HEAD)
    found = planner.estimate(
        path, gpu="a100", gpu_memory="4 GiB", batch_size=ROWS, num_gpus=64,
        parallel="fsdp", max_batch=False,
    )  # fmt: skip
    (entry,) = found.gpus
    state = entry.full_state
    assert entry.fits
    assert state is not None
    head_bytes = 2_097_152 * 512 * 4
    assert state.model_bytes == MODEL_BYTES + head_bytes
    assert head_bytes < state.saving_bytes
    assert not state.fits
    (warning,) = [text for text in found.warnings if "full state dict" in text]
    assert "a100: the step fits, and saving a full state dict takes" in warning
    assert "without full_state_dict=True" in warning
    again = estimate_of(found.to_dict())
    assert again.gpus[0].full_state == state


def test_one_gpu_has_no_whole_state(write_model: WriteModel) -> None:
    found = counted(write_model(BLOCKS))
    assert found.full_state is None
    assert found.full_state_problem == ""
