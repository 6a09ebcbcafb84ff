"""curve() and compare() through a real child: figures against runs, counts and estimates."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import planner
from planner.errors import TargetError
from planner.estimation.batch_counts import BatchCounts
from planner.estimation.request import estimate_request
from planner.estimation.session import estimation_session
from planner.wire.module_counts import ModelCounts

ROOT = Path(__file__).parents[2]
MODELS = ROOT / "models"
pytestmark = pytest.mark.slow


def totals(counts: ModelCounts) -> tuple[int, int, int, int]:
    """FLOPs, bytes and calls of all operators, and the bytes of the batch."""
    return (
        sum(one.total_flops for one in counts.operators),
        sum(one.calls * (one.read_bytes + one.written_bytes) for one in counts.operators),
        sum(one.calls for one in counts.operators),
        sum(counts.batch_tensors_bytes),
    )


@pytest.mark.parametrize("name", ["resnet50", "gpt2"])
@pytest.mark.parametrize("batch", [3, 100])
def test_a_batch_that_was_told_is_as_one_that_is_counted(name: str, batch: int) -> None:
    with estimation_session(estimate_request(str(MODELS / f"{name}.py")), ["a100"]) as step:
        counts: BatchCounts = step.counts(step.known.budgets[0])
        told = counts.at(batch)
        assert counts.counted_batches == (8, 24)
        real = counts.counted(batch)
    for one, other in zip(totals(told), totals(real), strict=True):
        assert one == pytest.approx(other, rel=0.01)
    assert told.step.step_flops == pytest.approx(real.step.step_flops, rel=0.01)


def test_a_curve_agrees_with_estimates() -> None:
    path = str(MODELS / "resnet50.py")
    curve = planner.curve(path, gpu="t4", batch_size=32, global_batch=96)
    by_batch = {point.batch_size: point for point in curve.points}
    largest = curve.largest_batch_size
    assert largest is not None
    assert {1, 2, 4, 8, 16, 32, largest} <= set(by_batch)
    assert by_batch[largest].fits
    assert all(point.fits == (batch <= largest) for batch, point in by_batch.items())
    assert curve.recommended_batch_size is not None
    assert curve.accumulate is not None
    assert curve.recommended_batch_size * curve.accumulate == 96
    for batch in (1, 4, largest):
        estimate = planner.estimate(path, gpu="t4", batch_size=batch, max_batch=False)
        point, entry = by_batch[batch], estimate.gpus[0]
        assert point.device_total_bytes == entry.device_total_bytes
        assert entry.time is not None
        assert point.step_s == pytest.approx(entry.time.step_s, rel=0.01)
        assert point.bound == entry.time.bottleneck.bound.value
    assert max(point.samples_per_s for point in curve.points if point.fits) * 0.95 <= (
        by_batch[curve.knee or 0].samples_per_s
    )


def test_compare_at_one_batch_agrees_with_an_estimate() -> None:
    path = str(MODELS / "gpt2.py")
    found = planner.compare(path, gpu=["a100", "t4", "v100", "mi300x"], batch_size=8)
    assert [one.requested for one in found.left_out] == ["mi300x"]
    assert found.epoch_samples == 1_280_000
    assert found.ranking[0].requested == "a100"
    estimate = planner.estimate(path, gpu=["a100", "t4"], batch_size=8, max_batch=False)
    for name in ("a100", "t4"):
        (card,) = [one for one in found.cards if one.requested == name]
        entry = estimate.gpu(name)
        assert card.fits == entry.fits
        assert entry.time is not None
        # An estimate counts all cards on the first; here each has the attention that it runs.
        rel = 1e-6 if name == "a100" else 0.2
        assert card.step_s == pytest.approx(entry.time.step_s, rel=rel)


def test_a_batch_that_does_not_fit_is_bound_by_memory_in_all_three() -> None:
    path, batch = str(MODELS / "mlp.py"), 2_000_000
    entry = planner.estimate(path, gpu="t4", batch_size=batch, max_batch=False).gpus[0]
    assert entry.time is not None
    (point,) = planner.curve(path, gpu="t4", batches=[batch]).points
    (card,) = planner.compare(path, gpu="t4", batch_size=batch).cards
    assert entry.time.bottleneck.bound.value == point.bound == card.bound == "VRAM capacity"
    assert [entry.fits, point.fits, card.fits] == [False] * 3


def test_a_data_set_that_is_not_there_is_missed_before_anything_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("planner.questions.curve.DeviceMemorySearch", None)
    monkeypatch.setattr("planner.questions.compare.answers_by_group", None)
    for asked in (planner.curve, planner.compare):
        with pytest.raises(TargetError, match="no data set to time"):
            asked(str(MODELS / "mlp.py"), gpu="t4", measure_data=True)


def planned(*words: str, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "planner", *words, "-q"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == code, done.stderr
    return done.stdout


def test_both_commands(tmp_path: Path) -> None:
    table = planned("curve", "models/mlp.py", "--gpu", "t4", "--batches", "1,64,4096")
    assert "recommended" in table
    curve = json.loads(
        planned(
            "curve", "models/mlp.py", "--gpu", "t4", "--batches", "1,64", "--json", "--data",
            "imagenet-jpeg", "--host", "aws-g4dn-xlarge", "--csv", f"{tmp_path / 'curve.csv'}",
        )
    )  # fmt: skip
    assert [point["batch_size"] for point in curve["points"]] == [1, 64]
    assert curve["points"][1]["bound"] == "data preparation"
    assert (tmp_path / "curve.csv").read_text().count("\n") == 3
    document = json.loads(planned("compare", "models/mlp.py", "--json", "--by", "energy"))
    energies = [sum(card["kwh"]) for card in document["cards"]]
    assert energies == sorted(energies)
    assert len(energies) > 50
    planned("compare", "models/mlp.py", "--gpu", "t4", "--batch", "100000000", code=3)


def test_the_largest_batch_below_the_one_asked_for() -> None:
    """No batch that was recorded for 64 fits on these cards; smaller ones are recorded anew."""
    path = str(MODELS / "gpt2.py")
    found = planner.compare(path, gpu=["t4", "rtx-2060"], batch_size=64)
    assert not any(card.fits for card in found.cards)
    largest = {card.requested: card.max_batch_size for card in found.cards}
    assert largest["t4"] == planner.estimate(path, gpu="t4", batch_size=8).max_batch_size
    assert 1 < (largest["rtx-2060"] or 0) < (largest["t4"] or 0)
    assert any(text.startswith("batch 64 does not fit on ") for text in found.warnings)
