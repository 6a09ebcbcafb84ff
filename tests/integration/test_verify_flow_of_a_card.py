"""What verify() does on a physical card from end to end, on a stand-in for driver and card.

NVML is a stand-in, and each run happens on the emulated device, which tells what a card would: the
search, the second look, what is kept, and what the next estimate learns from it are the real ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import planner
from planner.config.step import StepConfig
from planner.config.target import Target
from planner.emulator.build import emulated_device
from planner.emulator.torch_install import find_torch
from planner.estimation.context import ProfileFactory
from planner.machine.nvml import CardUser, PhysicalCard
from planner.memory.budget import memory_budgets
from planner.memory.probe import ProbeOutcome
from planner.process.client import Runner
from planner.units import GIB, MIB
from planner.verification import history
from planner.wire.trace import AllocationTrace, CardReading, StepTrace
from tests.integration.child_runs import WriteModel

pytestmark = pytest.mark.slow

OTHERS_BYTES, CONTEXT_BYTES = GIB, 333 * MIB
TOTAL_BYTES = 15 * GIB
MODEL = """
def build_model():
    return nn.Sequential(nn.Linear(2048, 4096), nn.ReLU(), nn.Linear(4096, 8))

def build_batch(batch_size):
    return torch.randn(batch_size, 2048)
"""


class StandInNvml:
    """A T4 with another process on it."""

    def cards(self) -> tuple[PhysicalCard, ...]:
        return (
            PhysicalCard(
                index=0,
                uuid="GPU-0",
                name="Tesla T4",
                driver="580.65.06",
                is_partitioned=False,
                usable_memory_bytes=TOTAL_BYTES,
                ecc=True,
                power_limit_w=70.0,
            ),
        )

    def used_bytes(self, card: PhysicalCard) -> int:
        return OTHERS_BYTES

    def users(self, card: PhysicalCard) -> tuple[CardUser, ...]:
        return (CardUser(pid=4711, used_bytes=OTHERS_BYTES),)


class StandInRunner(Runner):
    """Runs on the emulated T4 with what its context and the other process leave."""

    timed_steps: list[int]

    def __init__(self, target: Target, *, environment: dict[str, str], **options: Any) -> None:
        assert environment["CUDA_VISIBLE_DEVICES"] == "GPU-0"
        torch = find_torch()
        cards = ProfileFactory(torch=torch, device=emulated_device(torch))
        left = TOTAL_BYTES - OTHERS_BYTES - CONTEXT_BYTES
        (budget,) = memory_budgets(["t4"], hardware_db=None, gpu_memory=left + 198 * MIB, reserve=0)
        self._limited = cards.limited(budget)
        options.update(device=cards.device, profile=cards.unlimited(budget))
        super().__init__(target, **options)

    def record(self, profile: str, config: StepConfig) -> tuple[StepTrace, AllocationTrace | None]:
        return super().record(self._limited, config)

    def run(self, profile: str, config: StepConfig) -> StepTrace:
        StandInRunner.timed_steps.append(config.steps)
        trace = super().run(self._limited, config)
        held = trace.peak_reserved_bytes + OTHERS_BYTES + CONTEXT_BYTES
        reading = CardReading(
            used_bytes=held, total_bytes=TOTAL_BYTES, reserved_bytes=trace.peak_reserved_bytes
        )
        return replace(trace, card=reading, step_s=(0.5, *[0.25] * (config.steps - 1)))


@pytest.fixture
def _stand_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    @contextmanager
    def opened() -> Iterator[StandInNvml]:
        yield StandInNvml()

    StandInRunner.timed_steps = []
    monkeypatch.setattr("planner.questions.verify.opened", opened)
    monkeypatch.setattr("planner.questions.verify.physical_card.Runner", StandInRunner)
    monkeypatch.setenv("VRAM_PLANNER_DATA", str(tmp_path / "data"))


@pytest.mark.usefixtures("_stand_in")
def test_a_card_is_searched_compared_and_learnt_from(write_model: WriteModel) -> None:
    path = write_model(MODEL)
    before = planner.estimate(path, gpu="t4", optimizer="sgd", max_batch=False)
    found = planner.verify(path, optimizer="sgd", tolerance="5%")

    answer = found.measured.max_batch_size
    assert answer is not None
    assert found.predicted.max_batch_size is not None
    assert 0 < found.predicted.max_batch_size / answer - 1 < 0.02  # the context was taken too small
    assert found.measured.context_overhead_bytes == CONTEXT_BYTES
    assert found.measured.step_s == 0.25
    last = found.probes[-1]
    assert (last.batch_size, last.outcome) == (answer, ProbeOutcome.FITS)
    assert StandInRunner.timed_steps[-1] > StandInRunner.timed_steps[0] >= 3
    assert found.device.other_processes_bytes == OTHERS_BYTES
    assert any("4711" in text for text in found.warnings)
    assert found.errors()["peak_reserved_bytes"] == 0
    assert found.complaints == (
        f"the predicted largest batch {found.predicted.max_batch_size} lies above the measured "
        f"{answer}",
    )

    assert dict(found.measured_categories) == dict(found.predicted_categories)
    assert dict(found.measured_categories)["saved activation"] > GIB

    (kept,) = history.entries(card="Tesla T4")
    assert kept.measured.max_batch_size == answer
    after = planner.estimate(path, gpu="t4", optimizer="sgd", max_batch=False)
    assert before.gpus[0].context_overhead_bytes != CONTEXT_BYTES
    assert after.gpus[0].context_overhead_bytes == CONTEXT_BYTES
    assert any("calibrated on 1 run" in text for text in after.assumptions)


@pytest.mark.usefixtures("_stand_in")
def test_a_history_that_cannot_be_written_costs_no_verification(
    write_model: WriteModel, tmp_path: Path
) -> None:
    store = tmp_path / "data" / "history.sqlite"
    store.parent.mkdir(mode=0o700)
    store.write_bytes(b"no database")
    found = planner.verify(write_model(MODEL), optimizer="sgd", max_batch=64)
    assert (found.measured.max_batch_size, found.bound) == (64, "--max-batch 64")
    assert any("could not be kept" in text for text in found.warnings)
    assert store.read_bytes() == b"no database"
