"""Meters of a run on real hardware: the time of each step, and what the run held at its end.

A step's time is that from its forward to the end of the optimizer's step, without making the batch.

In: the marks of a run (Watch). Out: seconds and readings. Convention: a meter makes the step wait
for nothing, except at the run's end.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch

from planner.wire.trace import CardReading, CpuReading, Phase
from planner.worker.record.watch import Watch

_KIB = 1024
_STATUS = Path("/proc/self/status")
_CLEAR_REFS = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"  # see proc(5), clear_refs


class CardMeter(Watch):
    """Measures a run on a physical card: CUDA events between the steps, and cudaMemGetInfo."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._begun: list[Any] = []
        self._ended: list[Any] = []
        self.step_s: tuple[float, ...] = ()
        self.reading: CardReading | None = None

    def enter(self, phase: Phase, inputs: Any = None) -> None:
        """Starts a step's time at its first forward, when the batch is there."""
        if phase is Phase.FORWARD and len(self._begun) == len(self._ended):
            self._begun.append(_event())

    def end_step(self) -> None:
        """Marks the end of a step on the card; the card may still compute."""
        self._ended.append(_event())

    def end_steps(self) -> None:
        """Reads the measured times and memory after the last step."""
        if not self._ended:
            return
        try:
            torch.cuda.synchronize(self._device)
        except RuntimeError:
            return  # the card has failed; the step's own error is reported
        free_bytes, total_bytes = torch.cuda.mem_get_info(self._device)
        self.reading = CardReading(
            used_bytes=total_bytes - free_bytes,
            total_bytes=total_bytes,
            reserved_bytes=torch.cuda.memory_reserved(self._device),
        )
        pairs = zip(self._begun, self._ended, strict=False)
        self.step_s = tuple(begin.elapsed_time(end) / 1000 for begin, end in pairs)


def _event() -> Any:
    event: Any = torch.cuda.Event  # untyped in torch
    made = event(enable_timing=True)
    made.record()
    return made


class CpuMeter(Watch):
    """Measures a run on the CPU: the clock, and /proc/self/status."""

    def __init__(self) -> None:
        self._begun: list[float] = []
        self._ended: list[float] = []
        self._base = {"VmRSS": 0, "VmData": 0}
        self.step_s: tuple[float, ...] = ()
        self.reading: CpuReading | None = None

    def begin(self) -> None:
        """Reads the memory of the process before the model is built."""
        _CLEAR_REFS.write_text(_RESET_PEAK)
        self._base = host_status()

    def enter(self, phase: Phase, inputs: Any = None) -> None:
        """Starts a step's time at its first forward, when the batch is there."""
        if phase is Phase.FORWARD and len(self._begun) == len(self._ended):
            self._begun.append(time.perf_counter())

    def end_step(self) -> None:
        """Notes the end of a step."""
        self._ended.append(time.perf_counter())

    def end_steps(self) -> None:
        """Reads the measured times and memory after the last step."""
        pairs = zip(self._begun, self._ended, strict=False)
        self.step_s = tuple(end - begin for begin, end in pairs)
        now = host_status()
        self.reading = CpuReading(
            base_bytes=self._base["VmRSS"],
            peak_bytes=now["VmHWM"],
            file_bytes=now["RssFile"] + now["RssShmem"],
            data_bytes=self._base["VmData"],
            end_data_bytes=now["VmData"],
        )


def host_status() -> dict[str, int]:
    """Returns the sizes in /proc/self/status by name, in bytes: VmRSS, VmHWM, VmData ..."""
    found = {}
    for line in _STATUS.read_text().splitlines():
        name, _, value = line.partition(":")
        words = value.split()
        if words[1:] == ["kB"]:
            found[name] = int(words[0]) * _KIB
    return found
