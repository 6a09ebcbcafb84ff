"""The largest batch of a physical card, against what is predicted for it."""

from __future__ import annotations

from pathlib import Path

import pytest

import planner
from planner.machine.nvml import PhysicalCard, opened
from planner.memory.probe import ProbeOutcome
from planner.results.verification import DeviceKind
from planner.units import GIB
from planner.verification import history

pytestmark = [pytest.mark.gpu, pytest.mark.slow]

MODELS = Path(__file__).resolve().parents[2] / "models"


@pytest.mark.parametrize("name", ["mlp", "resnet50", "gpt2"])
def test_the_predicted_largest_batch_is_the_measured_one(card: PhysicalCard, name: str) -> None:
    with opened() as nvml:
        before_bytes = nvml.used_bytes(card)
    found = planner.verify(str(MODELS / f"{name}.py"), device="cuda", timeout_s=300)
    assert found.device.kind is DeviceKind.PHYSICAL
    assert found.device.name == card.name
    assert not found.stopped, found.stopped
    assert found.measured.max_batch_size
    assert found.predicted.max_batch_size is not None
    assert found.predicted.max_batch_size <= found.measured.max_batch_size
    assert found.errors()["device_total_bytes"] == pytest.approx(0, abs=0.03)
    assert found.measured.step_s
    assert {probe.outcome for probe in found.probes} == {ProbeOutcome.FITS, ProbeOutcome.OOM}
    with opened() as nvml:
        assert nvml.used_bytes(card) - before_bytes < GIB // 4  # nothing stays behind


def test_it_is_kept_and_learnt_from(card: PhysicalCard) -> None:
    kept = len(history.entries(card=card.name))
    planner.verify(str(MODELS / "mlp.py"), device="cuda", max_batch=64)
    assert len(history.entries(card=card.name)) == kept + 1
