"""Verifications made by hand, and a history in a folder of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from planner.config.step import Mode, Precision, StepConfig
from planner.results.estimate import Versions
from planner.results.verification import DeviceKind, Figures, Verification, VerifiedDevice
from planner.units import GIB, MIB

Make = Callable[..., Verification]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the history will be; nothing is there yet."""
    monkeypatch.setenv("VRAM_PLANNER_DATA", str(tmp_path / "data"))
    return tmp_path / "data" / "history.sqlite"


@pytest.fixture
def make() -> Make:
    """A verification: predicted 1000 + 198 MiB, measured as given."""
    return verification


def verification(
    *,
    card: str = "Tesla T4",
    kind: DeviceKind = DeviceKind.PHYSICAL,
    driver: str | None = "550.54.15",
    torch: str = "2.14.1+cu130",
    target: str = "net.py",
    mode: Mode = Mode.TRAIN,
    reserved_mib: int | None = 1000,
    context_mib: int | None = 150,
    predicted_mib: int | None = 1000,
    steps_s: tuple[float | None, float | None] = (None, None),
    measured_batch_size: int = 8,
    **more: Any,
) -> Verification:
    def figures(reserved: int | None, context: int | None, step_s: float | None, batch: int) -> Any:
        total = None if reserved is None or context is None else (reserved + context) * MIB
        return Figures(
            max_batch_size=30,
            batch_size=batch,
            peak_reserved_bytes=None if reserved is None else reserved * MIB,
            context_overhead_bytes=None if context is None else context * MIB,
            device_total_bytes=total,
            step_s=step_s,
        )

    return Verification(
        target=target,
        config=StepConfig(batch_size=8, mode=mode, precision=Precision.AMP_FP16),
        optimizer="AdamW",
        device=VerifiedDevice(name=card, kind=kind, memory_bytes=15 * GIB, driver=driver),
        predicted=figures(predicted_mib, 198, steps_s[0], 8),
        measured=figures(reserved_mib, context_mib, steps_s[1], measured_batch_size),
        probes=(),
        versions=Versions(torch=torch, cuda="13.0", cudnn=None, python="3.11.7", planner="0.1.0"),
        tolerance=0.05,
        **more,
    )
