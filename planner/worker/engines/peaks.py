"""Peaks of torch's caching allocator over a run, read from torch.cuda.memory_stats().

In: a device. Out: PeakRecorder's figures, bytes. Convention: the counters are reset at each step,
so every figure of the whole run is the maximum over the resets; on a CPU all are zero.
"""

from __future__ import annotations

import gc
from contextlib import suppress
from typing import Any

import torch

_cuda: Any = torch.cuda  # partly untyped in torch


class PeakRecorder:
    """Collects peaks from its creation on, step by step."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.allocated_bytes = 0
        self.active_bytes = 0
        self.reserved_bytes = 0
        self.step_allocated_bytes: list[int] = []
        self.rest_bytes = 0
        self._retries_before = 0
        if device.type == "cuda":
            _cuda.init()
            torch.cuda.reset_peak_memory_stats(device)
            self._retries_before = self._stats().get("num_alloc_retries", 0)
        self.alloc_retries = 0

    def start_steps(self) -> None:
        """Takes the peaks before the first step: building, placing, the optimizer."""
        self._collect()

    def end_step(self) -> None:
        """Takes the peaks of the step that ends here."""
        self.step_allocated_bytes.append(self._collect())
        if self._device.type == "cuda":
            self.rest_bytes = torch.cuda.memory_allocated(self._device)

    def finish(self) -> None:
        """Takes the peaks of a run that stopped within a step."""
        self._collect()

    def _collect(self) -> int:
        if self._device.type != "cuda":
            return 0
        stats = self._stats()
        peak = stats.get("allocated_bytes.all.peak", 0)
        self.allocated_bytes = max(self.allocated_bytes, peak)
        self.active_bytes = max(self.active_bytes, stats.get("active_bytes.all.peak", 0))
        self.reserved_bytes = max(self.reserved_bytes, stats.get("reserved_bytes.all.peak", 0))
        self.alloc_retries = stats.get("num_alloc_retries", 0) - self._retries_before
        torch.cuda.reset_peak_memory_stats(self._device)
        return peak

    def _stats(self) -> dict[str, int]:
        return torch.cuda.memory_stats(self._device)


def release(device: torch.device) -> None:
    """Frees the remains of an ended run: garbage, cuBLAS workspaces, cached segments."""
    gc.collect()
    if device.type != "cuda" or not _cuda.is_initialized():
        return
    with suppress(AttributeError):  # a private function; without it 8-32 MiB stay allocated
        torch._C._cuda_clearCublasWorkspaces()
    torch.cuda.empty_cache()
