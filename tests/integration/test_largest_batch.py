"""The largest batch: it fits in a process of its own, and one more does not."""

from __future__ import annotations

import pytest

import planner
from planner.config.parse import step_config
from planner.config.target import parse_target
from planner.emulator.build import EmulatedDevice
from planner.emulator.torch_install import find_torch
from planner.estimation.context import ProfileFactory
from planner.memory.budget import memory_budgets
from planner.process.client import Runner
from planner.wire.trace import RunOutcome
from tests.integration.child_runs import WriteModel

pytestmark = pytest.mark.slow

MODEL = """
def build_model():
    return nn.Sequential(nn.Linear(4096, 4096), nn.ReLU(), nn.Linear(4096, 4096))

def build_batch(batch_size):
    return torch.randn(batch_size, 4096)
"""


def test_largest_batch_fits_and_one_more_runs_out_of_memory(
    write_model: WriteModel, device: EmulatedDevice
) -> None:
    path = write_model(MODEL)
    estimate = planner.estimate(path, gpu=["t4", "rtx3090"], batch_size=8, reserve="10%")
    assert estimate.fits("t4")
    assert estimate.fits("rtx3090")
    small, large = (card.max_batch_size for card in estimate.gpus)
    assert small is not None
    assert large is not None
    assert large > 1.4 * small
    (budget,) = memory_budgets(["t4"], hardware_db=None, gpu_memory=None, reserve="10%")
    assert estimate.gpu("t4").reserve_bytes == budget.reserve_bytes > 0
    cards = ProfileFactory(torch=find_torch(), device=device)
    profile = cards.limited(budget)
    target = parse_target(path)
    with Runner(target, device=device, profile=profile, timeout_s=120) as runner:
        runner.wait_loaded()
        fitting = runner.run(profile, step_config({"batch_size": small}))
        failing = runner.run(profile, step_config({"batch_size": small + 1}))
    assert fitting.outcome is RunOutcome.COMPLETED
    assert fitting.peak_reserved_bytes <= budget.capacity_bytes
    assert failing.outcome is RunOutcome.OUT_OF_MEMORY
    assert failing.failure is not None
    assert failing.failure.kind == "OutOfMemoryError"


def test_a_model_that_does_not_fit_says_by_how_much(write_model: WriteModel) -> None:
    estimate = planner.estimate(
        write_model(MODEL), gpu="t4", batch_size=64, gpu_memory="1GiB", reserve="700MiB"
    )
    card = estimate.gpus[0]
    assert not card.fits
    assert card.max_batch_size == 0
    capacity_bytes = (1 << 30) - (700 << 20) - card.context_overhead_bytes
    assert card.missing_bytes == card.peak_reserved_bytes - capacity_bytes > 0


def test_a_batch_beyond_every_card_is_a_result_and_not_an_error(write_model: WriteModel) -> None:
    estimate = planner.estimate(write_model(MODEL), gpu="t4", batch_size=1 << 31, max_batch=False)
    assert not estimate.fits()
    assert any("16.0 TiB" in text for text in estimate.warnings)


def test_a_batch_of_one_that_batch_norm_refuses_does_not_end_the_search(
    write_model: WriteModel,
) -> None:
    path = write_model(
        """
        def build_model():
            return nn.Sequential(nn.Linear(4096, 4096), nn.BatchNorm1d(4096))

        def build_batch(batch_size):
            if batch_size > 2:
                raise ValueError("more than two rows are not to be had")
            return torch.randn(batch_size, 4096)
        """
    )
    estimate = planner.estimate(path, gpu="t4", batch_size=2)
    assert estimate.max_batch_size == 2
    assert any("batch 3 fails for another reason than memory" in w for w in estimate.warnings)
