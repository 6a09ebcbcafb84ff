"""advise() through a real child: each figure is that of an estimate with the printed flags."""

from __future__ import annotations

import json
import shlex
from typing import Any

import pytest
from click.testing import CliRunner

import planner
from planner.cli.root import root
from planner.results.advice import Advice, TrialState

pytestmark = pytest.mark.slow

# Of 4 blocks, each with hidden activations 4 times as wide: micro-batches and checkpointing save
# most of the peak, and Adam's states are as large as twice the weights.
NET = """
import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, width, wide):
        super().__init__()
        self.one = nn.Linear(width, wide * width)
        self.two = nn.Linear(wide * width, width)

    def forward(self, x):
        return x + self.two(nn.functional.gelu(self.one(x)))


levers = {"thin": {"arguments": {"wide": 1}, "note": "blocks of a quarter of the width"}}


def build_model(wide=4):
    return nn.Sequential(*(Block(256, wide) for _ in range(4)))


def build_batch(batch_size):
    return torch.randn(batch_size, 256)
"""


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("advise") / "net.py"
    file.write_text(NET)
    return str(file)


def estimated(command: str) -> dict[str, Any]:
    """The first card of the JSON that a printed command gives."""
    words = shlex.split(command)
    assert words[:2] == ["planner", "estimate"]
    done = CliRunner().invoke(root, [*words[1:], "--json", "-q"])
    assert done.exit_code in (0, 3), done.stderr
    card: dict[str, Any] = json.loads(done.stdout)["gpus"][0]
    return card


@pytest.fixture(scope="module")
def advice(net: str) -> Advice:
    return planner.advise(net, gpu="t4", gpu_memory="600MiB", batch_size=16384, tries="Lion")


def test_the_plan_is_what_its_command_gives_to_the_byte(advice: Advice) -> None:
    plan = advice.plan
    assert not advice.baseline.fits
    assert plan is not None
    found = estimated(plan.command)
    assert found["fits"]
    assert found["peak_reserved_bytes"] == plan.peak_reserved_bytes
    assert found["device_total_bytes"] == plan.device_total_bytes
    assert found["max_batch_size"] == plan.max_batch_size
    assert found["max_batch_confirmed"] is plan.max_batch_confirmed is True


@pytest.mark.parametrize("name", ["checkpoint activations", "expandable segments", "thin"])
def test_a_trial_is_the_run_of_the_changed_step(name: str, advice: Advice, net: str) -> None:
    (trial,) = [one for one in advice.trials if one.levers == (name,)]
    assert trial.state is TrialState.TRIED
    flags = " ".join(advice.lever(name).flags)
    whole = f"planner estimate {net} --gpu t4 --batch 16384 {flags} --gpu-memory 100GiB"
    direct = estimated(f"{whole} --no-max-batch")
    assert trial.peak_reserved_bytes == direct["peak_reserved_bytes"]
    asked = advice.baseline.device_total_bytes
    assert asked is not None
    assert trial.device_total_bytes is not None
    assert trial.saved_bytes == asked - trial.device_total_bytes


def test_what_is_not_installed_says_how_to_install_it(advice: Advice) -> None:
    (trial,) = [one for one in advice.trials if one.levers == ("Lion",)]
    assert trial.state is TrialState.CANNOT_APPLY
    assert "pip install lion-pytorch" in trial.reason


def test_a_budget_that_is_over_leaves_trials_out_and_says_so(net: str) -> None:
    found = planner.advise(net, gpu="t4", gpu_memory="600MiB", batch_size=16384, budget=0.001)
    assert {one.state for one in found.trials} == {
        TrialState.NOT_TRIED, TrialState.CANNOT_APPLY,
    }  # fmt: skip
    assert found.plan is None
