"""The first DataLoader that shuffles: its batch size is seen, and can be another one.

In: the order's batch size, or None. Out: the batch size that the script gave. Convention: without
shuffle or a sampler a loader is not taken for that of the training; loaders with the same batch
size that shuffle too are changed alike. A larger batch is full: samples are drawn again where the
data set is too small for it, and an epoch keeps its number of batches.
"""

from __future__ import annotations

import functools
import inspect
import math
from typing import Any

from torch.utils.data import DataLoader, DistributedSampler, RandomSampler


class TrainingLoader:
    """Watches the making of DataLoaders."""

    def __init__(self, batch_size: int | None) -> None:
        self.batch_size: int | None = None
        self._instead = batch_size

    def watch(self) -> None:
        """Sees each DataLoader that is made from now on."""
        loader: Any = DataLoader
        made = loader.__init__
        signature = inspect.signature(made)

        @functools.wraps(made)
        def making(one: Any, *args: Any, **kwargs: Any) -> None:
            try:
                given = signature.bind(one, *args, **kwargs)
            except TypeError:  # the loader itself says so
                made(one, *args, **kwargs)
                return
            size = self._size(given.arguments)
            if size is not None and self._instead is not None:
                _draw_full(given.arguments, self.batch_size or size, size)
                given.arguments["batch_size"] = size
            made(*given.args, **given.kwargs)

        loader.__init__ = making

    def _size(self, given: dict[str, Any]) -> int | None:
        """Returns the batch size that a loader shall have; None: it is not that of the training."""
        size = given.get("batch_size", 1)
        sampler = given.get("sampler")
        if given.get("batch_sampler") is not None or not isinstance(size, int):
            return None
        if not (given.get("shuffle") or _shuffles(sampler)):
            return None
        if self.batch_size is None:
            self.batch_size = size
        if size != self.batch_size:
            return None
        return size if self._instead is None else self._instead


def _shuffles(sampler: Any) -> bool:
    if isinstance(sampler, DistributedSampler):
        return bool(sampler.shuffle)
    return isinstance(sampler, RandomSampler)


def _draw_full(given: dict[str, Any], own: int, size: int) -> None:
    """Gives the loader a sampler that fills batches of `size`, where they are larger than its own.

    An epoch keeps its number of batches. Nothing is done for a data set without a length.
    """
    dataset: Any = given.get("dataset")
    length = len(dataset) if hasattr(dataset, "__len__") else 0
    batches = math.ceil(length / own)
    if size <= own or not length:
        return
    given["shuffle"] = False
    given["sampler"] = RandomSampler(dataset, replacement=True, num_samples=batches * size)
