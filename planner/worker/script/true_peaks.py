"""Peaks of PyTorch's allocator over a whole script, whatever the script does with the counters.

In: a script that runs. Out: the peaks. Convention: the counters are never reset here, because the
script may print them; its own resets are noticed just before they happen.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

_private: Any = torch._C
_RESETS = ("_cuda_resetPeakMemoryStats", "_accelerator_resetPeakStats")


class TruePeaks:
    """Collects peaks of the first card, in bytes."""

    def __init__(self) -> None:
        self.allocated_bytes = 0
        self.active_bytes = 0
        self.reserved_bytes = 0
        self.alloc_retries = 0
        self.out_of_memory = 0

    def watch(self) -> None:
        """Collects before each reset of the counters from now on."""
        for name in _RESETS:
            if hasattr(_private, name):
                setattr(_private, name, self._collecting(getattr(_private, name)))

    def collect(self) -> None:
        """Takes the peaks since the last reset."""
        if not torch.cuda.is_initialized():  # type: ignore[no-untyped-call] # untyped in torch
            return
        stats = torch.cuda.memory_stats(0)
        for name in ("allocated", "active", "reserved"):
            peak_bytes = stats.get(f"{name}_bytes.all.peak", 0)
            setattr(self, f"{name}_bytes", max(getattr(self, f"{name}_bytes"), peak_bytes))
        self.alloc_retries = stats.get("num_alloc_retries", 0)
        self.out_of_memory = stats.get("num_ooms", 0)

    def _collecting(self, reset: Callable[..., Any]) -> Callable[..., Any]:
        def collecting(*args: Any) -> Any:
            self.collect()
            return reset(*args)

        return collecting
