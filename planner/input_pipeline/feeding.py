"""Counts the workers and cores that keep a card busy, for a number of samples a second.

In: DataItem, samples per second, HostBudget. Out: CoresNeeded, WorkersNeeded. Convention: where
storage or the hand-over is too slow for any number of cores, the result names that limit instead.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from planner.input_pipeline.data_item import DataItem
from planner.input_pipeline.host_budget import HostBudget, PcieLink
from planner.input_pipeline.loader import Loader
from planner.input_pipeline.rates import InputLimit, input_times

_TYPICAL_BATCH = 64  # the cost of a batch apart from its items is shared by so many items
_NO_LINK = PcieLink(generation=None, lanes=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class CoresNeeded:
    """Physical cores that prepare and hand over so many samples; None: `limit` prevents it."""

    samples_per_s: float
    cores: float | None
    limit: InputLimit | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkersNeeded:
    """The fewest workers for so many samples on this host; None: `limit` prevents it."""

    samples_per_s: float
    workers: int | None
    limit: InputLimit | None


def cores_needed(
    item: DataItem,
    samples_per_s: float,
    host: HostBudget,
    *,
    batch_size: int = _TYPICAL_BATCH,
    pin_memory: bool = True,
) -> CoresNeeded:
    """Returns how many cores like the host's feed `samples_per_s`, whatever number it has.

    The core of the training loop comes in addition.
    """
    loader = Loader(workers=1, pin_memory=pin_memory)
    enough = replace(host, cores=max(host.cores, 1.0))
    times = input_times(item, batch_size, loader, enough, _NO_LINK)
    batch_s = batch_size / samples_per_s
    slow = {InputLimit.STORAGE: times.storage_s, InputLimit.HAND_OVER: times.hand_over_s}
    limit = max(slow, key=lambda one: slow[one])
    if slow[limit] > batch_s:
        return CoresNeeded(samples_per_s=samples_per_s, cores=None, limit=limit)
    cores = (times.worker_s + times.hand_over_s) / batch_s
    return CoresNeeded(samples_per_s=samples_per_s, cores=cores, limit=None)


def workers_needed(
    item: DataItem,
    samples_per_s: float,
    host: HostBudget,
    *,
    batch_size: int = _TYPICAL_BATCH,
    pin_memory: bool = True,
    trainer_s: float = 0.0,
) -> WorkersNeeded:
    """Returns the fewest workers that feed `samples_per_s`; `trainer_s` is for each batch."""
    limit = InputLimit.CORES
    for workers in range(1, max(1, host.threads) + 1):
        loader = Loader(workers=workers, pin_memory=pin_memory)
        times = input_times(item, batch_size, loader, host, _NO_LINK, trainer_s=trainer_s)
        if times.samples_per_s >= samples_per_s:
            return WorkersNeeded(samples_per_s=samples_per_s, workers=workers, limit=None)
        limit = times.limit
    # Every thread has a worker: a limit of workers is then a limit of cores.
    limit = InputLimit.CORES if limit is InputLimit.WORKERS else limit
    return WorkersNeeded(samples_per_s=samples_per_s, workers=None, limit=limit)
