"""The plan as code: names of modules, meshes, policies, and the command that starts it."""

from __future__ import annotations

import ast

import pytest

from planner.config.parallel import DataParallel
from planner.config.step import Precision, StepConfig
from planner.estimation.spread.plan_code import launch_command, plan_code, script_of
from planner.estimation.spread.spreads import Spread, spreads

FSDP = Spread(gpus=8, hosts=1, data=DataParallel.FSDP, shard=8)
UNITS = tuple(f"model.layers.{n}" for n in range(3))


def text(spread: Spread, units: tuple[str, ...] = UNITS, **config: Precision) -> str:
    return "\n".join(plan_code(spread, units, StepConfig(**config)).lines)


@pytest.mark.parametrize("spread", [*spreads(8, 1), *spreads(32, 4)], ids=lambda one: one.parallel)
def test_every_spread_is_a_function_that_python_reads(spread: Spread) -> None:
    tree = ast.parse(text(spread, precision=Precision.AMP_BF16))
    assert [one.name for one in tree.body if isinstance(one, ast.FunctionDef)] == ["parallelize"]


def test_one_gpu_needs_no_code() -> None:
    assert text(Spread(gpus=1, hosts=1)) == ""
    assert launch_command(Spread(gpus=1, hosts=1)) == "python train.py"
    assert script_of(Spread(gpus=1, hosts=1), "AdamW") == ()


def test_the_last_block_stays_gathered() -> None:
    code = text(FSDP)
    assert 'blocks = [model.get_submodule(f"model.layers.{n}") for n in range(3)]' in code
    assert "fully_shard(block, reshard_after_forward=True, **options)" in code
    assert "fully_shard(blocks[-1], reshard_after_forward=False, **options)" in code
    assert "MixedPrecisionPolicy" not in code


def test_blocks_of_several_containers_are_listed() -> None:
    assert "in ['a.0', 'b.0']]" in text(FSDP, ("a.0", "b.0"))
    assert "blocks" not in text(FSDP, ())


def test_the_policy_takes_the_place_of_autocast() -> None:
    found = plan_code(FSDP, UNITS, StepConfig(precision=Precision.AMP_BF16))
    assert found.replaces_autocast
    assert any("reduce_dtype=torch.float32" in line for line in found.lines)
    ddp = Spread(gpus=8, hosts=1, data=DataParallel.DDP, replicate=8)
    assert not plan_code(ddp, (), StepConfig(precision=Precision.AMP_BF16)).replaces_autocast


@pytest.mark.parametrize(
    ("spread", "mesh"),
    [
        (FSDP, '"mesh": mesh["dp_shard"]'),
        (
            Spread(gpus=16, hosts=2, data=DataParallel.FSDP, replicate=2, shard=8),
            '"mesh": mesh["dp_replicate", "dp_shard"]',
        ),
        (
            Spread(gpus=8, hosts=1, data=DataParallel.FSDP, shard=4, context=2),
            '"mesh": mesh["dp_shard", "cp"]._flatten("dp_shard_cp")',
        ),
        (
            Spread(gpus=8, hosts=1, data=DataParallel.FSDP, context=8),
            '"mesh": mesh["cp"]',
        ),
    ],
)
def test_the_mesh_to_shard_over(spread: Spread, mesh: str) -> None:
    assert mesh in text(spread)


def test_the_commands_that_start_it() -> None:
    assert launch_command(FSDP) == "torchrun --standalone --nproc-per-node 8 train.py"
    several = Spread(gpus=32, hosts=4, data=DataParallel.FSDP, replicate=4, shard=8)
    assert launch_command(several).startswith("torchrun --nnodes 4 --nproc-per-node 8 ")
    (mesh,) = script_of(several, "AdamW")
    assert mesh == (
        'mesh = init_device_mesh("cuda", (4, 8), mesh_dim_names=("dp_replicate", "dp_shard"))'
    )


def test_the_optimizer_of_zero1_is_named() -> None:
    spread = Spread(gpus=8, hosts=1, data=DataParallel.ZERO1, replicate=8)
    _, optimizer = script_of(spread, "AdamW (fused)")
    assert "optimizer_class=torch.optim.AdamW, fused=True" in optimizer
