"""Estimates with a history: corrected figures, and a suggested batch that keeps its promise."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import planner
from planner.config.step import StepConfig
from planner.results.device_estimate import FitVerdict
from planner.results.estimate import Versions
from planner.results.verification import DeviceKind, Figures, Verification, VerifiedDevice
from planner.units import GIB, MIB
from planner.verification import history
from tests.integration.child_runs import WriteModel
from tests.made_traces import MadeTrace

pytestmark = pytest.mark.slow

NET = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(*(nn.Linear(4096, 4096) for _ in range(4)))

    def forward(self, x):
        return self.layers(x)

def build_batch(batch_size):
    return torch.randn(batch_size, 256, 4096)
"""
KEPT = Verification(
    target="net0.py",
    config=StepConfig(),
    optimizer="AdamW",
    device=VerifiedDevice(name="Tesla T4", kind=DeviceKind.PHYSICAL, memory_bytes=15 * GIB),
    predicted=Figures(batch_size=8, peak_reserved_bytes=GIB),
    measured=Figures(
        batch_size=8, peak_reserved_bytes=GIB + 40 * MIB, context_overhead_bytes=120 * MIB
    ),
    probes=(),
    versions=Versions(torch="1.0", cuda="10.0", cudnn=None, python="3.11.7", planner="0.1.0"),
    tolerance=0.05,
)


def test_the_suggested_batch_fits_at_its_upper_end_and_the_next_is_tight(
    write_model: WriteModel,
) -> None:
    model = write_model(NET)
    card = planner.estimate(model, gpu="t4").gpus[0]
    assert card.suggested_batch_size is not None
    assert card.max_batch_size is not None
    assert 8 < card.suggested_batch_size < card.max_batch_size

    def verdict(batch_size: int) -> FitVerdict:
        found = planner.estimate(model, gpu="t4", batch_size=batch_size, max_batch=False)
        return found.gpus[0].verdict

    assert verdict(card.suggested_batch_size) is FitVerdict.FITS
    assert verdict(card.max_batch_size) is FitVerdict.TIGHT
    assert verdict(card.max_batch_size + 1) is FitVerdict.DOES_NOT_FIT


def test_past_runs_correct_the_card(
    write_model: WriteModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VRAM_PLANNER_DATA", str(tmp_path / "history"))
    for number in range(3):
        history.add(replace(KEPT, target=f"net{number}.py"))
    model = write_model(NET)
    found = planner.estimate(model, gpu=["t4", "l4"], max_batch=False)
    t4, l4 = found.gpus
    assert (t4.context_overhead_bytes, t4.reserved_offset_bytes) == (120 * MIB, 40 * MIB)
    assert t4.device_total_bytes == t4.peak_reserved_bytes + 160 * MIB
    said = "t4: calibrated on 3 runs on this card (torch 1.0): context overhead 120 MiB, "
    assert f"{said}peak reserved +40.0 MiB" in found.assumptions
    assert l4.calibration is None
    plain = planner.estimate(model, gpu="t4", max_batch=False, calibration=False).gpus[0]
    assert (plain.context_overhead_bytes, plain.reserved_offset_bytes) == (198 * MIB, 0)
    assert plain.peak_reserved_bytes == t4.peak_reserved_bytes


def test_a_broken_history_does_not_end_an_estimate(
    write_model: WriteModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VRAM_PLANNER_DATA", str(tmp_path))
    (tmp_path / "history.sqlite").write_bytes(b"x" * 8192)
    found = planner.estimate(write_model(NET), gpu="t4", max_batch=False)
    assert any("it is not a SQLite file" in warning for warning in found.warnings)
    assert found.gpus[0].interval_coverage == pytest.approx(0.9)


def test_a_trace_corrects_the_step_time(
    write_model: WriteModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Products of 2048 rows that took 2.5 times their prediction: the step takes nearly that."""
    monkeypatch.setenv("VRAM_PLANNER_DATA", str(tmp_path / "history"))
    model = write_model(NET)
    plain = planner.estimate(model, gpu=["t4", "l4"], max_batch=False)
    file = tmp_path / "trace.json"

    def traced(us: float) -> Path:
        made = MadeTrace()
        dims, types = [[4096], [2048, 4096], [4096, 4096]], ["float"] * 3
        made.operator("aten::addmm", 0, 50, dims, types)
        made.kernel(5, us)
        file.write_bytes(made.data())
        return file

    (first,) = planner.learn_trace(traced(10_000), keep=False).comparisons
    traced(1e6 * 2.5 * first.predicted_s)
    (found,) = planner.learn_trace(file).comparisons
    assert found.factor == pytest.approx(2.5, rel=0.01)
    corrected = planner.estimate(model, gpu=["t4", "l4"], max_batch=False)
    (before, l4_before), (after, l4_after) = plain.gpus, corrected.gpus
    assert before.time is not None
    assert after.time is not None
    assert 2 < after.time.step_s / before.time.step_s < 2.5
    assert "kernels of this card as measured in 1 trace" in str(after.time.interval_basis)
    said = "t4, step time: kernels of this card as measured in 1 trace, 1 kind of them, 2.5 x as"
    assert any(said in text for text in corrected.assumptions)
    assert l4_after == l4_before
    assert after.device_total_bytes == before.device_total_bytes
    ignored = planner.estimate(model, gpu="t4", max_batch=False, calibration=False).gpus[0]
    assert ignored.time == before.time
