"""Times a batch on its way to the card: prepared, collated, handed over, pinned, copied.

In: DataItem, Loader, HostBudget, the link of the card. Out: InputTimes; the time of a step with
its input. Convention: seconds are of one batch, at a steady state; rates of memory and of the
processor are those of the reference core and scale with `core_speed`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from planner.input_pipeline.data_item import DataItem
from planner.input_pipeline.host_budget import (
    HostBudget,
    PcieLink,
    effective_cores,
    h2d_bytes_per_s,
    narrower,
)
from planner.input_pipeline.loader import Loader

# default_collate of float32 pictures into new pages, as those of /dev/shm always are: 256 x 3 x 224
# x 224 in 139 ms, on a core of speed 0.78 (420 JPEGs a second; torch 2.14.1).
_COLLATE_BYTES_PER_S = 1.4e9
# Time of the training process to map a batch and to give it back, and to copy it into pinned
# memory: 6.2 and 9.4 ms for 38.5 MB on the same core.
_SHM_MAP_BYTES_PER_S = 7.9e9
_PIN_BYTES_PER_S = 5.2e9
# Queues, descriptors and pickles of one batch of two tensors, in the worker and in the process that
# takes it: 0.85 and 0.65 ms on the same core.
_SEND_BATCH_S = 0.66e-3
_TAKE_BATCH_S = 0.51e-3


# Cost of an item in a worker, over that in the process it was timed in: pages are copied when they
# are written to, caches are shared with other processes. Over 30 runs with 1, 2 and 4 workers on a
# virtual CPU with 2 cores, without this factor the predicted loader was 1.05 to 1.26 times as fast
# as the measured one (medians; benchmarks/input_pipeline.py).
_IN_WORKER = 1.12


class InputLimit(str, Enum):
    """The part that limits the rate of batches."""

    CORES = "cores"  # every core works; more workers would not help
    WORKERS = "workers"  # more workers would help
    HAND_OVER = "hand-over"  # the training process takes, and pins, one batch after another
    STORAGE = "storage"
    NO_WORKERS = "no workers"  # the training process prepares each batch itself


@dataclass(frozen=True, slots=True, kw_only=True)
class InputTimes:
    """Seconds of one batch. `copy_s` is None where the link is unknown.

    Of one worker: `prepare_s`, `collate_s` and `send_s`. Of the training process: `take_s` and
    `pin_s`. `storage_s` is 0 where the storage is not known.
    `loader_s` is the wait for each batch in a loop that does nothing else, because of `limit`.
    """

    batch_size: int
    prepare_s: float
    collate_s: float
    send_s: float
    take_s: float
    pin_s: float
    storage_s: float
    copy_s: float | None
    loader_s: float
    limit: InputLimit
    overlaps_step: bool
    copy_overlaps_step: bool

    @property
    def samples_per_s(self) -> float:
        """Returns the samples per second that the loader alone delivers."""
        return self.batch_size / self.loader_s

    @property
    def worker_s(self) -> float:
        """Returns CPU seconds of a batch where it is prepared."""
        return self.prepare_s + self.collate_s + self.send_s

    @property
    def hand_over_s(self) -> float:
        """Returns CPU seconds of a batch in the training process, after its preparation."""
        return self.take_s + self.pin_s


def input_times(
    item: DataItem,
    batch_size: int,
    loader: Loader,
    host: HostBudget,
    card: PcieLink,
    *,
    trainer_s: float = 0.0,
) -> InputTimes:
    """Returns the times of loading a batch, and the limit of the loader.

    `trainer_s` are the CPU seconds that the training loop itself takes for a step: the workers
    cannot use its core in that time.
    """
    assert item.item_bytes is not None, "the batch of the step says how large an item is"
    batch_bytes, speed = item.item_bytes * batch_size, host.core_speed
    apart = loader.workers > 0
    dearer = _IN_WORKER if apart else 1.0
    rate = h2d_bytes_per_s(_narrowest(card, host), pinned=loader.pin_memory)
    stored_bytes = item.stored_bytes * batch_size
    prepare_s = item.prepare_s * batch_size * dearer / speed
    collate_s = _collate_s(item) * batch_size * dearer / speed
    send_s = _SEND_BATCH_S / speed if apart else 0.0
    take_s = (_TAKE_BATCH_S + batch_bytes / _SHM_MAP_BYTES_PER_S) / speed if apart else 0.0
    pin_s = batch_bytes / _PIN_BYTES_PER_S / speed if loader.pin_memory else 0.0
    storage_s = stored_bytes / host.storage_bytes_per_s if host.storage_bytes_per_s else 0.0
    loader_s, limit = _loader_s(
        loader,
        host,
        prepared_s=prepare_s + collate_s + send_s,
        taken_s=take_s + pin_s,
        storage_s=storage_s,
        trainer_s=trainer_s,
    )
    return InputTimes(
        batch_size=batch_size,
        prepare_s=prepare_s,
        collate_s=collate_s,
        send_s=send_s,
        take_s=take_s,
        pin_s=pin_s,
        storage_s=storage_s,
        copy_s=None if rate is None else batch_bytes / rate,
        loader_s=loader_s,
        limit=limit,
        overlaps_step=apart,
        copy_overlaps_step=apart and loader.pin_memory and loader.copies_overlap,
    )


def step_with_input(gpu_s: float, times: InputTimes) -> float:
    """Returns the seconds of a step of `gpu_s` with its batch; an unknown copy counts as none.

    Of overlapping parts only the longest counts, the other parts are added. A loop without workers
    waits for the card (it reads the loss) before it prepares the next batch.
    """
    copy_s = times.copy_s or 0.0
    if not times.overlaps_step:
        return times.loader_s + copy_s + gpu_s
    if times.copy_overlaps_step:
        return max(times.loader_s, copy_s, gpu_s)
    return max(times.loader_s, copy_s + gpu_s)


def _loader_s(
    loader: Loader,
    host: HostBudget,
    *,
    prepared_s: float,
    taken_s: float,
    storage_s: float,
    trainer_s: float,
) -> tuple[float, InputLimit]:
    """Returns the seconds of a batch and their limit: the first of equals in the order below.

    The arguments are CPU seconds to prepare a batch and to take it. The threads of the training
    process run next to the workers and take their part of the cores.
    """
    if not loader.workers:
        alone_s = (prepared_s + taken_s) / effective_cores(host, 1)
        return alone_s + storage_s, InputLimit.NO_WORKERS
    training_threads = 1 + loader.pin_memory
    every_core = effective_cores(host, loader.workers + training_threads)
    limits = {
        InputLimit.CORES: (prepared_s + taken_s + trainer_s) / every_core,
        InputLimit.WORKERS: prepared_s / effective_cores(host, loader.workers),
        InputLimit.HAND_OVER: taken_s / effective_cores(host, 1),
        InputLimit.STORAGE: storage_s,
    }
    limit = max(limits, key=lambda one: limits[one])
    return limits[limit], limit


def _collate_s(item: DataItem) -> float:
    """Returns CPU seconds to collate one item, on the reference core."""
    if item.collate_s is not None:
        return item.collate_s
    assert item.item_bytes is not None, "the batch of the step says how large an item is"
    return item.item_bytes / _COLLATE_BYTES_PER_S


def _narrowest(card: PcieLink, host: HostBudget) -> PcieLink:
    return narrower(card, PcieLink(generation=host.pcie_generation, lanes=host.pcie_lanes))
