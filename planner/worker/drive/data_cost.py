"""Times items of the user's data set, as a worker of a DataLoader would prepare them.

In: ModelSource, seconds to spend. Out: DataCost. Convention: one thread, items in random order, as
a shuffled loader asks for them, or as they come where the data set only iterates.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import cycle
from typing import Any

from torch.utils.data import default_collate
from torch.utils.data._utils import worker

from planner.errors import ModelError, PlannerError, TargetError
from planner.wire.data_cost import DataCost
from planner.worker.model.tensors import tensors_in
from planner.worker.target.frames import describe, user_frames
from planner.worker.target.source import ModelSource

_WARM_UP_FRACTION = 0.1  # of the seconds: files are opened, tables are read
_LEAST_ITEMS = 4
_MOST_ITEMS = 10_000
_COLLATED_ITEMS = 32
_COLLATED_BYTES = 16 << 20  # a container may have no more than 64 MiB of shared memory
_COLLATIONS = 3
_SEED = 0


@dataclass(slots=True)
class _Timed:
    """The times of the items, and the last items."""

    cpu_s: list[float]
    wall_s: list[float]
    last: list[Any]


def measure_data(source: ModelSource, seconds: float) -> DataCost:
    """Builds the data set and times its items for about `seconds`, after a warm-up.

    Raises:
        TargetError: the model file has no build_dataset.
        ModelError: the data set raised, is no data set, or has no item; with the user's frames.
    """
    if source.build_dataset is None:
        raise TargetError(
            f"{source.label} has no data set to time; write `def build_dataset():` that returns "
            "the data set which the DataLoader is given, or name an item: --data imagenet-jpeg"
        )
    try:
        return _measure(source.build_dataset, seconds)
    except PlannerError:
        raise
    except BaseException as error:
        raise ModelError(f"the data set failed: {describe(error)}", user_frames(error)) from error


def _measure(build_dataset: Callable[[], Any], seconds: float) -> DataCost:
    items = _items(build_dataset())
    _timed(items, seconds * _WARM_UP_FRACTION, least=1)
    timed = _timed(items, seconds, least=_LEAST_ITEMS)
    if not timed.cpu_s:
        raise ModelError("build_dataset returned a data set without items; give it some")
    item_bytes, collate_s = _collated(timed.last)
    return DataCost(
        items=len(timed.cpu_s),
        cpu_mean_s=statistics.fmean(timed.cpu_s),
        cpu_median_s=statistics.median(timed.cpu_s),
        wall_mean_s=statistics.fmean(timed.wall_s),
        wall_median_s=statistics.median(timed.wall_s),
        item_bytes=item_bytes,
        collate_s=collate_s,
    )


def _items(dataset: Any) -> Iterator[Any]:
    """Returns endless items if the data set has a length, else its own iterator."""
    if hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__"):
        length = len(dataset)
        order = random.Random(_SEED).sample(range(length), min(length, _MOST_ITEMS))
        return (dataset[index] for index in cycle(order))
    if hasattr(dataset, "__iter__"):
        return iter(dataset)
    raise ModelError(
        f"build_dataset returned a {type(dataset).__name__}; return a data set with __getitem__ "
        "and __len__, or one that iterates, as the DataLoader takes it"
    )


def _timed(items: Iterator[Any], seconds: float, least: int) -> _Timed:
    timed = _Timed(cpu_s=[], wall_s=[], last=[])
    began = time.perf_counter()
    while len(timed.cpu_s) < _MOST_ITEMS:
        cpu, wall = time.thread_time(), time.perf_counter()
        try:
            item = next(items)
        except StopIteration:
            break
        timed.cpu_s.append(time.thread_time() - cpu)
        timed.wall_s.append(time.perf_counter() - wall)
        timed.last = [*timed.last[1 - _COLLATED_ITEMS :], item]
        if len(timed.cpu_s) >= least and time.perf_counter() - began >= seconds:
            break
    return timed


def _collated(items: list[Any]) -> tuple[int | None, float | None]:
    """Returns bytes of an item and CPU seconds to collate it; None if default_collate cannot."""
    times_s = []
    with suppress(Exception):  # a data set with a collate_fn of its own is no failure
        item_bytes = sum(tensor.nbytes for _, tensor in tensors_in(default_collate(items[-1:])))
        fitting = _COLLATED_BYTES // max(1, item_bytes)
        chosen = items[-max(1, min(fitting, _COLLATED_ITEMS)) :]
        with _as_in_a_worker():
            for _ in range(_COLLATIONS):
                started = time.thread_time()
                default_collate(chosen)
                times_s.append(time.thread_time() - started)
        return item_bytes, statistics.median(times_s) / len(chosen)
    return None, None


@contextmanager
def _as_in_a_worker() -> Iterator[None]:
    """Makes default_collate write to shared memory, as it does in a worker.

    In memory of this process it would be several times as fast, if malloc has pages that were
    touched before; pages of /dev/shm are always new.
    """
    private: Any = worker
    before = private._worker_info
    private._worker_info = private.WorkerInfo(id=0, num_workers=1, seed=_SEED, dataset=None)
    try:
        yield
    finally:
        private._worker_info = before
