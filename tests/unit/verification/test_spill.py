"""Drivers that lend host memory: what gives it away."""

from __future__ import annotations

from dataclasses import replace

import pytest

from planner.memory.probe import ProbeOutcome
from planner.results.verification import ProbeRecord
from planner.units import GIB
from planner.verification.spill import SpillGuard, no_spill, runs_in_wsl


def probe(batch: int, step_s: float | None, held: int = 4 * GIB) -> ProbeRecord:
    return ProbeRecord(
        batch_size=batch,
        outcome=ProbeOutcome.FITS,
        seconds=1.0,
        step_s=step_s,
        peak_device_bytes=held,
    )


def test_a_total_beyond_the_card_is_out_of_memory() -> None:
    judged = SpillGuard(8 * GIB).judge(probe(64, 0.1, held=9 * GIB))
    assert judged.outcome is ProbeOutcome.OOM
    assert judged.detail == "spilled to host memory: 9.00 GiB of 8.00 GiB"
    lent = replace(probe(64, 0.1), peak_reserved_bytes=7 * GIB, device_before_bytes=2 * GIB)
    assert SpillGuard(8 * GIB).judge(lent).outcome is ProbeOutcome.OOM


def test_a_sample_that_takes_many_times_as_long_is_out_of_memory() -> None:
    guard = SpillGuard(8 * GIB)
    assert guard.judge(probe(10, 0.10)).outcome is ProbeOutcome.FITS  # 10 ms a sample
    assert guard.judge(probe(20, 0.16)).outcome is ProbeOutcome.FITS  # 8 ms, the best
    assert guard.judge(probe(40, 0.95)).outcome is ProbeOutcome.FITS  # 2.97 times as long
    judged = guard.judge(probe(40, 1.00))  # 3.125 times
    assert judged.outcome is ProbeOutcome.OOM
    assert "3.1 times as slow" in judged.detail
    assert guard.judge(probe(40, None)).outcome is ProbeOutcome.FITS


def test_other_endings_are_left_alone() -> None:
    failed = ProbeRecord(batch_size=1, outcome=ProbeOutcome.MODEL_ERROR, seconds=1.0)
    assert SpillGuard(1).judge(failed) is failed
    assert no_spill(failed) is failed


@pytest.mark.parametrize(
    ("release", "is_wsl"),
    [("6.6.87.2-microsoft-standard-WSL2\n", True), ("6.1.0-37-amd64\n", False)],
)
def test_the_kernels_name_tells(release: str, is_wsl: bool) -> None:
    assert runs_in_wsl(release) is is_wsl
