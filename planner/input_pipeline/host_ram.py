"""Computes the use of host RAM and /dev/shm by a training job, and whether it fits.

In: Loader, the tensors of a batch, the process that trains, the host's bytes. Out: HostRam, Rooms.
Convention: the most at a time, when the card is slower than the loader and as many batches as
possible wait.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from enum import Enum

from planner.input_pipeline.loader import Loader
from planner.units import MIB

# A forked worker's own pages once a collection has written to every Python object: 65 to 77 MiB
# measured with torch 2.14.1 (CUDA build), numpy and Pillow; 80 MB with torchvision, more while it
# holds the items of a batch.
WORKER_PRIVATE_BYTES = 76 * MIB
# `docker run` without --shm-size (https://docs.docker.com/reference/cli/docker/container/run).
DOCKER_SHM_BYTES = 64 * MIB
_TIGHT_FRACTION = 0.8  # beyond it the kernel begins to drop the page cache that feeds the workers


class Room(str, Enum):
    """Whether a need of the host fits in its memory, if its size is known.

    A card has FitVerdict: its size is always known, and there `tight` is about an interval.
    """

    FITS = "fits"
    """There is enough."""
    TIGHT = "tight"
    """More than 80 % of it is taken."""
    DOES_NOT_FIT = "does not fit"
    """There is not enough."""
    UNKNOWN = "unknown"
    """It is not known how much there is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostRam:
    """Bytes of one job in the RAM of its host."""

    base_bytes: int
    """The process that trains: Python, torch, the user's imports."""
    workers_bytes: int
    """The workers' own memory, together."""
    prefetch_bytes: int
    """Waiting batches that are not pinned; with workers they are in /dev/shm."""
    pinned_bytes: int
    """Waiting batches in pinned memory."""
    dataset_bytes: int
    """The data set, in every process that holds a copy."""
    checkpoint_bytes: int
    """A copy of the state while it is saved; 0: inference, or the run could not be recorded."""
    shm_peak_bytes: int
    """Most bytes in /dev/shm, also while batches arrive faster than they are pinned."""
    offloaded_bytes: int = 0
    """What the step keeps there in place of the card: activations, the optimizer."""

    @property
    def total_bytes(self) -> int:
        """Returns all bytes in the RAM of the host, /dev/shm included."""
        return (
            self.base_bytes
            + self.workers_bytes
            + self.prefetch_bytes
            + self.pinned_bytes
            + self.dataset_bytes
            + self.checkpoint_bytes
            + self.offloaded_bytes
        )

    def of_processes(self, number: int) -> HostRam:
        """Returns the RAM of as many processes that each take this."""
        return HostRam(**{one.name: number * getattr(self, one.name) for one in fields(self)})


def host_ram(
    loader: Loader,
    tensor_sizes_bytes: Sequence[int],
    *,
    base_bytes: int,
    worker_private_bytes: int = WORKER_PRIVATE_BYTES,
    dataset_bytes: int = 0,
    dataset_copied: bool = True,
    checkpoint_bytes: int = 0,
    offloaded_bytes: int = 0,
) -> HostRam:
    """Computes the RAM of a job; `tensor_sizes_bytes` are those of one batch.

    `base_bytes` is the process that trains before its first batch, without the data set object.
    Each worker copies that object if it is made of Python objects, because their reference counts
    are written to; an object made of arrays stays shared.
    """
    batch_bytes, pinned_batch_bytes = sum(tensor_sizes_bytes), pinned_bytes(tensor_sizes_bytes)
    workers = loader.workers
    # The pinning thread empties the workers' queue at once, and its own has no bound
    # (torch/utils/data/_utils/pin_memory.py): waiting batches are pinned.
    in_shm = loader.outstanding_batches + 1 if workers else 0
    unpinned = min(in_shm, workers + 1) if loader.pin_memory else in_shm
    pinned = loader.outstanding_batches + 1 if loader.pin_memory else 0
    return HostRam(
        base_bytes=base_bytes,
        workers_bytes=workers * worker_private_bytes,
        prefetch_bytes=max(1, unpinned) * batch_bytes,
        pinned_bytes=pinned * pinned_batch_bytes,
        dataset_bytes=dataset_bytes * (1 + workers if dataset_copied else 1),
        checkpoint_bytes=checkpoint_bytes,
        shm_peak_bytes=in_shm * batch_bytes,
        offloaded_bytes=offloaded_bytes,
    )


def pinned_bytes(sizes_bytes: Sequence[int]) -> int:
    """Returns the bytes of pinned copies of tensors, each rounded up to a power of two.

    So does torch's CachingHostAllocator (aten/src/ATen/core/CachingHostAllocator.h).
    """
    return sum(1 << max(0, size_bytes - 1).bit_length() for size_bytes in sizes_bytes if size_bytes)


def room_in_ram(ram: HostRam, ram_bytes: int) -> Room:
    """Returns whether the job fits in the RAM of the host."""
    return _room(ram.total_bytes, ram_bytes)


def room_in_shm(ram: HostRam, shm_bytes: int | None) -> Room:
    """Returns whether the batches fit in /dev/shm; if not, workers die of a bus error.

    None is unknown; a container started without --shm-size has DOCKER_SHM_BYTES.
    """
    if not ram.shm_peak_bytes:
        return Room.FITS
    return Room.UNKNOWN if shm_bytes is None else _room(ram.shm_peak_bytes, shm_bytes)


def comfortable_bytes(needed_bytes: int) -> int:
    """Returns the least memory in which a need is Room.FITS and not tight."""
    return math.ceil(needed_bytes / _TIGHT_FRACTION)


def _room(needed_bytes: int, there_bytes: int) -> Room:
    if needed_bytes > there_bytes:
        return Room.DOES_NOT_FIT
    return Room.TIGHT if needed_bytes > _TIGHT_FRACTION * there_bytes else Room.FITS
