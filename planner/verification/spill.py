"""Detects a driver that lends host memory instead of failing: Windows, and WSL on it.

In: probes that fitted. Out: the same, or out of memory where they fitted only by spilling.
Convention: such a driver never reports out of memory. The signs are a device total beyond the
card's own memory, or a step that suddenly takes many times as long for each sample.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from planner.memory.probe import ProbeOutcome
from planner.results.verification import ProbeRecord
from planner.units import format_bytes

_RELEASE = Path("/proc/sys/kernel/osrelease")
# Host memory over PCIe is 10 to 50 times slower than a card's own. Without spilling, a larger
# batch makes a sample cheaper or leaves its time as it is.
_CLIFF = 3.0


def runs_in_wsl(release: str | None = None) -> bool:
    """Returns whether this Linux runs on Windows: its kernel's release names Microsoft."""
    if release is None:
        release = _RELEASE.read_text(errors="replace")
    return "microsoft" in release.lower()


def no_spill(record: ProbeRecord) -> ProbeRecord:
    """Returns the record unchanged: the judge for a driver that fails when memory is out."""
    return record


class SpillGuard:
    """Judges probes one after the other; remembers the best time of a sample."""

    def __init__(self, usable_bytes: int) -> None:
        self._usable_bytes = usable_bytes
        self._best_s: float | None = None

    def judge(self, record: ProbeRecord) -> ProbeRecord:
        """Returns the record, as out of memory where it has spilled."""
        if record.outcome is not ProbeOutcome.FITS:
            return record
        detail = self._spilled(record)
        if detail:
            return replace(record, outcome=ProbeOutcome.OOM, detail=detail)
        if record.step_s is not None:
            sample_s = record.step_s / record.batch_size
            self._best_s = min(sample_s, self._best_s or sample_s)
        return record

    def _spilled(self, record: ProbeRecord) -> str:
        # The driver reports at most the card's own memory; PyTorch's reserved memory may be lent.
        reserved_bytes = (record.peak_reserved_bytes or 0) + (record.device_before_bytes or 0)
        held_bytes = max(record.peak_device_bytes or 0, reserved_bytes)
        if held_bytes > self._usable_bytes:
            return (
                f"spilled to host memory: {format_bytes(held_bytes)} of "
                f"{format_bytes(self._usable_bytes)}"
            )
        if record.step_s is None or self._best_s is None:
            return ""
        times = record.step_s / record.batch_size / self._best_s
        return f"spilled to host memory: {times:.1f} times as slow a sample" * (times > _CLIFF)
