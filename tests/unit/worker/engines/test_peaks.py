from __future__ import annotations

import pytest
import torch

from planner.worker.engines import peaks

CUDA = torch.device("cuda", 0)


def test_a_cpu_has_no_peaks() -> None:
    recorder = peaks.PeakRecorder(torch.device("cpu"))
    recorder.start_steps()
    recorder.end_step()
    recorder.finish()
    assert recorder.step_allocated_bytes == [0]
    assert (recorder.allocated_bytes, recorder.active_bytes, recorder.reserved_bytes) == (0, 0, 0)


def test_peaks_are_the_maximum_over_the_resets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counters as memory_stats() would give them: retries before, build, two steps, a rest."""

    def stats(allocated: int, active: int, reserved: int, retries: int) -> dict[str, int]:
        return {
            "allocated_bytes.all.peak": allocated,
            "active_bytes.all.peak": active,
            "reserved_bytes.all.peak": reserved,
            "num_alloc_retries": retries,
        }

    readings = iter(
        [stats(0, 0, 0, 5), stats(10, 20, 90, 5), stats(30, 31, 60, 6), stats(20, 50, 80, 6),
         stats(25, 26, 70, 7)]
    )  # fmt: skip
    resets: list[object] = []
    monkeypatch.setattr(torch.cuda, "init", lambda: None)
    monkeypatch.setattr(torch.cuda, "memory_stats", lambda device: next(readings))
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", resets.append)
    recorder = peaks.PeakRecorder(CUDA)
    recorder.start_steps()
    recorder.end_step()
    recorder.end_step()
    recorder.finish()
    assert recorder.step_allocated_bytes == [30, 20]
    assert recorder.allocated_bytes == 30
    assert recorder.active_bytes == 50
    assert recorder.reserved_bytes == 90
    assert recorder.alloc_retries == 2
    assert resets == [CUDA] * 5
