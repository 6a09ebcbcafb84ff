"""parallelize() through a real child: the plan and its code have the bytes of an estimate."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import planner
from planner.cli.root import root
from planner.results.parallelization import Parallelization, SpreadMethod, SpreadState

pytestmark = pytest.mark.slow

WIDTH, DEPTH, ROWS = 512, 4, 64
# Two matrices a block, 1 Mi elements each: 8 Mi elements, 32 MiB of float32.
MODEL_BYTES = DEPTH * 2 * 4 * WIDTH * WIDTH * 4
NET = f"""
import torch
from torch import nn


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.one = nn.Linear({WIDTH}, {4 * WIDTH}, bias=False)
        self.two = nn.Linear({4 * WIDTH}, {WIDTH}, bias=False)

    def forward(self, x):
        return x + self.two(nn.functional.gelu(self.one(x)))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(Block() for _ in range({DEPTH}))
        self.tp_plan = {{"blocks.*.one": "colwise", "blocks.*.two": "rowwise"}}

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return x


def build_model():
    return Net()


def build_batch(batch_size):
    return torch.randn(batch_size, {ROWS}, {WIDTH})


def training_step(model, batch):
    return model(batch).mean()
"""
OPTIONS = {"optimizer": "adamw-fused", "precision": "amp-bf16"}


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("parallelize") / "net.py"
    file.write_text(NET)
    return file


@pytest.fixture(scope="module")
def found(net: Path) -> Parallelization:
    """On cards on which DDP has no room: its parameters, gradients and state are 160 MiB."""
    return planner.parallelize(
        str(net), gpu="a100", num_gpus=4, gpu_memory="1280MiB", global_batch=16, **OPTIONS
    )


def estimated(command: str, target: str, flags: tuple[str, ...] = ()) -> dict[str, Any]:
    """The card of the JSON of `planner estimate`: of a whole command, or of another target."""
    words = shlex.split(command)
    assert words[:2] == ["planner", "estimate"]
    asked = ["estimate", target, *words[3:], *flags, "--no-max-batch", "--json", "-q"]
    done = CliRunner().invoke(root, asked)
    assert done.exit_code == 0, done.stderr
    card: dict[str, Any] = json.loads(done.stdout)["gpus"][0]
    return card


def test_what_lasts_is_that_of_the_matrices(found: Parallelization) -> None:
    (held,) = found.held
    assert held.parameter_bytes == MODEL_BYTES
    assert held.gradient_bytes == MODEL_BYTES
    assert 2 * MODEL_BYTES <= held.optimizer_bytes < 2 * MODEL_BYTES + (1 << 16)  # and the steps


def test_the_plan_keeps_the_samples_and_has_the_bytes_of_its_command(
    found: Parallelization, net: Path
) -> None:
    plan = found.plan
    assert plan is not None
    spread = plan.spread
    assert spread.method is SpreadMethod.RUN
    assert spread.batch_size is not None
    assert spread.accumulate is not None
    assert plan.global_batch == 16
    card = estimated(plan.command, str(net))
    assert card["fits"]
    assert card["peak_reserved_bytes"] == plan.peak_reserved_bytes
    assert card["device_total_bytes"] == spread.device_total_bytes
    assert card["time"]["step_s"] == pytest.approx(spread.step_s)


def test_the_printed_code_has_the_same_bytes(found: Parallelization, tmp_path: Path) -> None:
    plan = found.plan
    assert plan is not None
    file = tmp_path / "spread.py"
    file.write_text(NET + "\n\n" + "\n".join(plan.code) + "\n")
    words = ["planner", "estimate", str(file), "--gpu", "a100", "--gpu-memory", "1280MiB",
             "--optimizer", "adamw-fused", *plan.code_flags]  # fmt: skip
    card = estimated(shlex.join(words), str(file))
    assert card["peak_reserved_bytes"] == plan.peak_reserved_bytes
    assert card["device_total_bytes"] == plan.spread.device_total_bytes


def test_others_fall_out_for_a_reason(found: Parallelization) -> None:
    others = [one for one in found.spreads if one.state is not SpreadState.FITS]
    assert others
    assert all(one.reason or one.over_bytes for one in others)
    assert found.runner_up is not None
    assert found.smallest[0].gpus is not None


def test_memory_limits_the_plan_and_a_run_refuses_the_next(net: Path) -> None:
    found = planner.parallelize(str(net), gpu="a100", num_gpus=2, gpu_memory="1280MiB", **OPTIONS)
    plan = found.plan
    assert plan is not None
    assert plan.next_batch_size == (plan.spread.batch_size or 0) + 1


def test_thousands_of_gpus(net: Path) -> None:
    found = planner.parallelize(
        str(net), gpu="h100", num_gpus=4096, global_batch=8192, gpu_memory="8GiB", **OPTIONS
    )
    plan = found.plan
    assert plan is not None
    assert (found.num_hosts, plan.global_batch) == (512, 8192)
    assert "--nnodes 512 --nproc-per-node 8" in plan.launch


def test_where_nothing_fits_the_smallest_number_is_named(net: Path) -> None:
    """Of 160 MiB half is above what 160 MiB leave beside NCCL and the context."""
    found = planner.parallelize(str(net), gpu="a100", num_gpus=1, gpu_memory="620MiB", **OPTIONS)
    assert found.plan is None or found.plan.spread.levers
    assert found.smallest[0].gpus != 1
