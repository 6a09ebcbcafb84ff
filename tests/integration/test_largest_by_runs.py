"""The largest batch and sequence by replay, other allocator settings, every card: real children."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import pytest

import planner
from planner.config.parse import step_config
from planner.config.step import StepConfig
from planner.config.target import parse_target
from planner.emulator.build import EmulatedDevice
from planner.emulator.torch_install import find_torch
from planner.errors import UsageError
from planner.estimation.context import ProfileFactory
from planner.memory.budget import memory_budgets
from planner.process.client import Runner
from planner.units import GIB
from planner.wire.trace import RunOutcome
from tests.integration.child_runs import WriteModel

pytestmark = pytest.mark.slow

MLP = """
def build_model():
    return nn.Sequential(nn.Linear(1024, 4096), nn.ReLU(), nn.Linear(4096, 1024))

def build_batch(batch_size):
    return torch.randn(batch_size, 1024)
"""
# Softmax of a matrix of scores: quadratic in the sequence.
ATTENTION = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv = nn.Linear(64, 192)

    def forward(self, x):
        query, key, value = self.qkv(x).chunk(3, dim=-1)
        return torch.softmax(query @ key.transpose(1, 2), dim=-1) @ value

def build_model():
    return Net()

def build_batch(batch_size, sequence_length=256):
    return torch.randn(batch_size, sequence_length, 64)
"""


def fits(path: str, device: EmulatedDevice, config: StepConfig, **card: object) -> bool:
    """Whether the step runs to its end on the full card, in a process of its own."""
    options: dict[str, object] = {"gpu_memory": None, "reserve": 0, **card}
    (budget,) = memory_budgets(["t4"], hardware_db=None, **options)  # type: ignore[arg-type] # of the tests below
    profile = ProfileFactory(torch=find_torch(), device=device).limited(budget)
    with Runner(parse_target(path), device=device, profile=profile, timeout_s=120) as runner:
        runner.wait_loaded()
        trace = runner.run(profile, config)
    assert trace.outcome is not RunOutcome.MODEL_ERROR, trace.failure
    return trace.outcome is RunOutcome.COMPLETED


def test_the_forecast_is_confirmed_by_two_runs(write_model: WriteModel) -> None:
    told: list[str] = []
    estimate = planner.estimate(
        write_model(MLP), gpu="t4", reserve="12GiB", on_progress=told.append
    )
    (card,) = estimate.gpus
    assert (card.max_batch_method, card.max_batch_confirmed) == ("replay", True)
    assert estimate.max_batch_size is not None
    tried = [line for line in told if "trying" in line]
    assert [line.rpartition(" ")[2] for line in tried] == [
        str(estimate.max_batch_size), str(estimate.max_batch_size + 1)
    ]  # fmt: skip


def test_requests_that_depend_on_the_batch_are_searched_by_runs(
    write_model: WriteModel, device: EmulatedDevice
) -> None:
    """A loop over the samples: another sequence at every batch."""
    path = write_model(
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.layer = nn.Linear(4096, 4096)

            def forward(self, x):
                return torch.stack([self.layer(row) for row in x.flatten(0, 0)])

        def build_model():
            return Net()

        def build_batch(batch_size):
            return torch.randn(batch_size, 4096, 4096)
        """
    )
    estimate = planner.estimate(path, gpu="t4", batch_size=4)
    (card,) = estimate.gpus
    assert (card.max_batch_method, card.max_batch_confirmed) == ("runs", True)
    assert any("the requests of the step are not alike" in text for text in estimate.assumptions)
    assert card.max_batch_size is not None
    assert fits(path, device, StepConfig(batch_size=card.max_batch_size))
    assert not fits(path, device, StepConfig(batch_size=card.max_batch_size + 1))


def test_a_model_without_a_batch_axis_has_no_largest_batch(write_model: WriteModel) -> None:
    path = write_model(
        """
        def build_model():
            return nn.Linear(64, 64)

        def build_batch(batch_size):
            return torch.randn(32, 64)
        """
    )
    estimate = planner.estimate(path, gpu="t4")
    assert estimate.max_batch_size is None
    assert estimate.fits()
    assert "no memory of the step depends on the batch: there is no largest one" in (
        estimate.warnings
    )
    assert any("is not the batch size" in text for text in estimate.warnings)


def test_a_cache_that_the_model_empties_is_in_the_replay(
    write_model: WriteModel, device: EmulatedDevice
) -> None:
    path = write_model(
        MLP
        + """
def training_step(model, batch):
    loss = model(batch).mean()
    torch.cuda.empty_cache()
    return loss
"""
    )
    estimate = planner.estimate(path, gpu="t4", reserve="12GiB")
    (card,) = estimate.gpus
    assert (card.max_batch_method, card.max_batch_confirmed) == ("replay", True)
    assert any("empties the allocator's cache (2 times)" in text for text in estimate.assumptions)
    assert card.max_batch_size is not None
    assert fits(path, device, StepConfig(batch_size=card.max_batch_size), reserve="12GiB")


def test_the_drivers_own_pools_are_searched_by_runs(write_model: WriteModel) -> None:
    estimate = planner.estimate(
        write_model(MLP), gpu="t4", reserve="12GiB", alloc_conf="backend:cudaMallocAsync"
    )
    (card,) = estimate.gpus
    assert card.max_batch_method == "runs"
    assert any("cannot be replayed" in text for text in estimate.assumptions)


def test_other_settings_are_answered_as_runs_under_them_would(write_model: WriteModel) -> None:
    path = write_model(MLP)
    settings = ["roundup_power2_divisions:4", "expandable_segments:True", "max_split_size_mb:32"]
    options = {"gpu": "t4", "reserve": "12GiB", "batch_size": 3000}
    compared = planner.estimate(path, alloc_conf=settings, **options).gpus[0]
    assert [found.alloc_conf for found in compared.what_ifs] == [None, *settings[1:]]
    for found in compared.what_ifs:
        direct = planner.estimate(path, alloc_conf=found.alloc_conf, **options).gpus[0]
        assert found.peak_allocated_bytes == direct.peak_allocated_bytes
        assert found.peak_reserved_bytes == direct.peak_reserved_bytes
        assert found.fits == direct.fits
        assert found.max_batch_size == direct.max_batch_size
    assert len({found.peak_reserved_bytes for found in compared.what_ifs}) > 1


def test_the_longest_sequence_of_quadratic_attention(
    write_model: WriteModel, device: EmulatedDevice
) -> None:
    path = write_model(ATTENTION)
    options = {"batch_size": 4, "sequence_length": 512}
    estimate = planner.estimate(path, gpu="t4", **options)
    (card,) = estimate.gpus
    longest = card.max_sequence_length
    assert card.max_sequence_confirmed
    assert longest is not None
    assert longest % 128 == 0
    # Scores, probabilities and their gradients: 4 or 5 matrices in float32 at the peak.
    assert (card.usable_memory_bytes / (4 * 4 * 6)) ** 0.5 < longest
    assert longest < (card.usable_memory_bytes / (4 * 4 * 3)) ** 0.5
    config = step_config(options)
    assert fits(path, device, replace(config, sequence_length=longest))
    assert not fits(path, device, replace(config, sequence_length=longest + 128))


def test_a_sequence_that_the_model_refuses_ends_the_search(write_model: WriteModel) -> None:
    path = write_model(ATTENTION.replace("def forward(self, x):", """def forward(self, x):
        if x.shape[1] > 700:
            raise ValueError("at most 700 tokens")"""))  # fmt: skip
    estimate = planner.estimate(path, gpu="t4", batch_size=4, sequence_length=512)
    assert estimate.gpus[0].max_sequence_length == 640
    assert any(
        "sequence length 768 fails for another reason than memory: ValueError: at most 700" in text
        for text in estimate.warnings
    )


def test_every_card_at_once(write_model: WriteModel) -> None:
    path = write_model(MLP)
    every = planner.estimate(path, gpu="all", batch_size=64, precision="amp-bf16")
    assert every.is_survey
    assert len({entry.requested for entry in every.gpus}) == len(every.gpus) > 60
    for name in ("t4", "rtx-3090", "a100-sxm4-40gb", "h100-sxm5-80gb", "rtx-5070"):
        alone = planner.estimate(path, gpu=name, batch_size=64, precision="amp-bf16").gpus[0]
        found = every.gpu(name)
        assert not found.max_batch_confirmed
        assert alone.max_batch_confirmed
        assert found.max_batch_size == pytest.approx(alone.max_batch_size, rel=0.01)
        assert found.peak_reserved_bytes == alone.peak_reserved_bytes
        assert found.fits == alone.fits


def test_every_card_where_most_are_too_small(write_model: WriteModel) -> None:
    """46 GiB of weights, gradients and states: batch 1 is run, as it makes other requests."""
    path = write_model(
        """
        def build_model():
            return nn.Sequential(*(nn.Linear(16384, 16384, bias=False) for _ in range(12)))

        def build_batch(batch_size):
            return torch.randn(batch_size, 16384)
        """
    )
    done = subprocess.run(
        [sys.executable, "-m", "planner", "estimate", path, "--gpu", "all", "--batch", "4",
         "--optimizer", "adam", "--json", "-q"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr  # it fits on some
    cards = {card["requested"]: card for card in json.loads(done.stdout)["gpus"]}
    assert (cards["t4"]["fits"], cards["t4"]["max_batch_size"]) == (False, 0)
    assert cards["t4"]["batch_1_missing_bytes"] > 20 * GIB
    assert cards["h200-sxm"]["fits"]
    assert cards["h200-sxm"]["max_batch_size"] > 4


def test_every_card_beside_another_is_wrong_usage(write_model: WriteModel) -> None:
    with pytest.raises(UsageError, match="stands for every card"):
        planner.estimate(write_model(MLP), gpu=["all", "t4"])


@pytest.mark.parametrize("setting", ["no_such_option:1", "expandable_segments:maybe"])
def test_settings_that_torch_does_not_know_are_wrong_usage(
    write_model: WriteModel, setting: str
) -> None:
    with pytest.raises(UsageError, match="allocator option"):
        planner.estimate(write_model(MLP), gpu="t4", alloc_conf=setting)
