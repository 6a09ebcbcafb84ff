"""Divides each sequence among ranks: context parallelism, with PyTorch's ring attention.

In: the maker of a batch, the mesh. Out: a maker whose batches hold this rank's part of each
sequence, while PyTorch's context_parallel is in force. Convention: the second dimension is the
sequence, as in accelerate and torchtitan.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch

from planner.config.step import StepConfig
from planner.errors import UsageError
from planner.worker.drive.batch_objects import tensors_of_batch


class DividedBatches:
    """Makes batches; each ends the context of the one before."""

    def __init__(self, make: Callable[[], Any], mesh: Any, config: StepConfig) -> None:
        self._make = make
        self._mesh = mesh
        self._length = config.sequence_length
        self._entered = ExitStack()

    def close(self) -> None:
        """Ends the context of the last batch."""
        self._entered.close()

    def __call__(self) -> Any:
        """Returns a batch of which this rank has its part.

        Raises:
            UsageError: the batch has no sequences, or they cannot be divided.
        """
        from torch.distributed.tensor.experimental import context_parallel

        self.close()
        batch = self._make()
        found = self._sequences(batch)
        self._entered.enter_context(
            context_parallel(
                self._mesh,
                buffers=found,
                buffer_seq_dims=[1] * len(found),
                no_restore_buffers=set(found),
            )
        )
        return batch

    def _sequences(self, batch: Any) -> list[torch.Tensor]:
        candidates = [one for _, one in tensors_of_batch(batch) if one.dim() > 1]
        length = self._length or next((one.shape[1] for one in candidates), None)
        found = {id(one): one for one in candidates if one.shape[1] == length}
        if not found or length is None:
            raise UsageError(
                "cp (--parallel) divides sequences, the second dimension of a tensor of the batch, "
                "and the batch has none"
                + ("" if self._length is None else f" of length {self._length} (--seq)")
            )
        ranks = self._mesh.size()
        if length % (2 * ranks):
            nearest = max(1, round(length / (2 * ranks))) * 2 * ranks
            raise UsageError(
                f"cp={ranks} (--parallel) deals out a sequence in {2 * ranks} equal pieces, and "
                f"{length} tokens cannot be divided so: take a sequence of {nearest} (--seq)"
            )
        return list(found.values())
