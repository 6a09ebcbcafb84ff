"""A Curve and a CardComparison made by hand, for the tests of the records and of the reports."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from planner.config.step import OptimizerName, Precision, StepConfig
from planner.results.comparison import CardComparison, ComparedCard, LeftOut, RankBy
from planner.results.curve import Curve, CurvePoint
from planner.results.estimate import Versions
from planner.units import GIB

VERSIONS = Versions(
    torch="2.14.1+cu130", cuda="13.0", cudnn="9.24.0", python="3.11.7", planner="0.1.0"
)
CONFIG = StepConfig(batch_size=16, precision=Precision.AMP_FP16, optimizer=OptimizerName.SGD)


def _point(batch_size: int, samples_per_s: float, gib: float | None = 1.0) -> CurvePoint:
    """A point of a card of 16 GiB, with no cost said."""
    return CurvePoint(
        batch_size=batch_size,
        step_s=batch_size / samples_per_s,
        samples_per_s=samples_per_s,
        device_total_bytes=None if gib is None else int(gib * GIB),
        fits=gib is None or gib <= 16,
        bound="memory bandwidth",
    )


@pytest.fixture
def point() -> Callable[..., CurvePoint]:
    """Makes a point of a batch, a throughput and, where known, GiB; 16 fit."""
    return _point


@pytest.fixture
def card() -> Callable[..., ComparedCard]:
    """Makes a card of a name, a throughput and, where known, money and kWh of an epoch."""
    return _card


@pytest.fixture
def curve() -> Curve:
    """Of the best throughput of those that fit, 400 samples/s, batch 64 has 97 %."""
    costly = CurvePoint(
        batch_size=64,
        step_s=64 / 388,
        samples_per_s=388.0,
        device_total_bytes=8 * GIB,
        fits=True,
        bound="compute",
        joule_per_sample=(0.5, 0.75),
        cost_per_sample=(2e-6, 3e-6),
    )
    return Curve(
        target="models/resnet50.py",
        gpu="t4",
        gpu_name="Tesla T4",
        points=(
            _point(1, 40.0),
            _point(8, 200.0, 2.0),
            costly,
            _point(128, 400.0, 15.5),
            _point(256, 410.0, 30.0),
        ),
        largest_batch_size=128,
        knee=64,
        recommended_batch_size=48,
        accumulate=2,
        global_batch_size=96,
        usable_memory_bytes=16 * GIB,
        currency="USD",
        config=CONFIG,
        versions=VERSIONS,
        assumptions=("power: an assumption",),
        warnings=("a warning of the run",),
    )


def _card(
    requested: str,
    samples_per_s: float | None = 100.0,
    money: tuple[float, float] | None = None,
    kwh: tuple[float, float] | None = None,
    *,
    fits: bool = True,
    currency: str | None = "USD",
) -> ComparedCard:
    """A card at batch 16, for an epoch of 360000 samples."""
    return ComparedCard(
        requested=requested,
        name=f"NVIDIA {requested.upper()}",
        usable_memory_bytes=16 * GIB,
        fits=fits,
        max_batch_size=100 if fits else 10,
        batch_size=16,
        step_s=None if samples_per_s is None else 16 / samples_per_s,
        samples_per_s=samples_per_s,
        bound="compute",
        epoch_hours=None if samples_per_s is None else 100 / samples_per_s,
        kwh=kwh,
        money=money,
        currency=None if money is None else currency,
        price_basis=None if money is None else "USD an hour: Lambda 2 (2026-11-23)",
    )


@pytest.fixture
def comparison() -> CardComparison:
    """Five cards: the fastest is not the cheapest, one has no price and one no time."""
    return CardComparison(
        target="models/resnet50.py",
        by=RankBy.COST,
        cards=(
            _card("h100", 1000.0, (0.4, 0.4), (0.05, 0.07)),
            _card("a100", 500.0, (0.3, 0.4), (0.06, 0.07)),
            _card("rtx-4090", 400.0, None, (0.08, 0.1)),
            _card("t4", 50.0, (0.2, 0.2), (0.1, 0.2), fits=False),
            _card("p100", None),
        ),
        left_out=(LeftOut(requested="mi300x", reason="only NVIDIA cards can be emulated"),),
        epoch_samples=360_000,
        config=CONFIG,
        versions=VERSIONS,
        assumptions=("power: an assumption",),
    )


@pytest.fixture
def model_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a model.py, for tests of what is checked after the target."""
    file = tmp_path / "model.py"
    file.write_text("def build_model():\n    raise AssertionError('started')\n")
    monkeypatch.chdir(tmp_path)
    return file
