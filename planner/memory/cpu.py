"""Predicts the RAM of a step on the CPU at any batch: live tensors and the process around them.

In: the requests at every batch (see scaling.py), and the RAM of some runs. Out: CpuForecast.
Convention: there is no caching allocator; malloc maps each large block separately and gives it back
at once, as MALLOC_MMAP_THRESHOLD_ in the child's environment makes sure. The memory of a run apart
from its live tensors (libraries, their scratch, Python) hardly depends on the batch; where it
grows, it follows the line through the runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from planner.memory.allocator.replay import Request
from planner.memory.gallop import Gallop
from planner.memory.scaling import ScaledRequests
from planner.memory.search import BOUND
from planner.wire.trace import CpuReading, EventKind

# glibc: from this size on a block is mapped separately, as a whole number of pages.
MMAP_THRESHOLD_BYTES = 128 * 1024
MALLOC_SETTING = ("MALLOC_MMAP_THRESHOLD_", str(MMAP_THRESHOLD_BYTES))
_PAGE_BYTES = 4096
# The memory of a process apart from its tensors differed by up to 2.7 MiB between runs of an MLP
# with batch 8 to 8000 (torch 2.14.1, 2 threads): the largest batch keeps a little more free.
KEPT_FREE_BYTES = 4 << 20
# Runs of one batch differ by up to this, also by what is imported when: less is no growth.
_NOISE_BYTES = 16 << 20
_AROUND_BYTES = 64 + 32  # alignment of PyTorch's allocator, and malloc's own header


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuSample:
    """The memory of the process of a run at one batch."""

    batch_size: int
    reading: CpuReading


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuForecast:
    """The RAM of a step at any batch; `samples` are in rising order of batch."""

    scaled: ScaledRequests
    samples: tuple[CpuSample, ...]

    def live_bytes(self, batch_size: int) -> int:
        """Returns the most bytes of tensors alive at a time, each as malloc maps it."""
        return peak_live_bytes(self.scaled.at(batch_size).requests)

    def around_bytes(self, batch_size: int) -> int:
        """Returns the memory of the process apart from live tensors, at their peak.

        Beyond the largest sample it is that of the largest, plus growth as between the two largest.
        """
        (first, low), (last, high) = self._seen(self.samples[-2:][0]), self._seen(self.samples[-1])
        if batch_size < last:
            return max(low, high)
        if high - low < _NOISE_BYTES:
            return high
        return high + (high - low) * (batch_size - last) // (last - first)

    def _seen(self, sample: CpuSample) -> tuple[int, int]:
        live_bytes = self.live_bytes(sample.batch_size)
        return sample.batch_size, sample.reading.peak_bytes - live_bytes

    def resident_bytes(self, batch_size: int) -> int:
        """Returns the peak of the process's resident memory."""
        return self.live_bytes(batch_size) + self.around_bytes(batch_size)

    def largest(self, memory_bytes: int, bound: int = BOUND) -> int:
        """Returns the largest batch whose process stays within `memory_bytes`; 0: not even 1 does.

        KEPT_FREE_BYTES of `memory_bytes` stay free.
        """
        limit_bytes = memory_bytes - KEPT_FREE_BYTES
        search = Gallop(fits=lambda batch: self.resident_bytes(batch) <= limit_bytes, bound=bound)
        return search.largest(1)

    def data_limit_bytes(self, memory_bytes: int) -> int:
        """Returns the RLIMIT_DATA that keeps the resident memory of a run within `memory_bytes`.

        The limit counts private mapped memory, written or not, without pages of files. At the peak
        of live tensors more may be mapped than is ever written: oneDNN takes scratch for more
        threads than there are. So the mapped memory is that at the peak, not at the step's end.
        """
        sample = self.samples[-1]
        peak_bytes, end_bytes = live_bytes_of(self.scaled.at(sample.batch_size).requests)
        mapped_at_peak_bytes = sample.reading.end_data_bytes + peak_bytes - end_bytes
        return max(0, memory_bytes + mapped_at_peak_bytes - sample.reading.peak_bytes)


def peak_live_bytes(requests: Sequence[Request]) -> int:
    """Returns the most bytes alive at a time among the requests."""
    return live_bytes_of(requests)[0]


def live_bytes_of(requests: Sequence[Request]) -> tuple[int, int]:
    """Returns the bytes alive among the requests: the most at a time, and those after the last."""
    live: dict[int, int] = {}
    now = peak = 0
    for request in requests:
        if request.kind is EventKind.ALLOC:
            size_bytes = mapped_bytes(request.size_bytes)
            live[request.block] = size_bytes
            now += size_bytes
            peak = max(peak, now)
        else:
            now -= live.pop(request.block, 0)
    return peak, now


def mapped_bytes(size_bytes: int) -> int:
    """Returns the bytes that malloc takes for a tensor of that size."""
    if size_bytes < MMAP_THRESHOLD_BYTES:
        return size_bytes
    return -(-(size_bytes + _AROUND_BYTES) // _PAGE_BYTES) * _PAGE_BYTES
