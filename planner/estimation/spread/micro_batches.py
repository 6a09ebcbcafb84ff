"""Chooses the micro-batch of a rank, so that the samples of a step stay as requested.

In: samples of a step, ranks that have samples of their own, the largest that fits. Out: samples of
a micro-batch and the number of them. Convention: without a requested number of samples a step is
one micro-batch.
"""

from __future__ import annotations

from dataclasses import dataclass

MOST_SAMPLES = 1024  # of a micro-batch that nobody asked for: a card is full of work before that


@dataclass(frozen=True, slots=True, kw_only=True)
class MicroBatches:
    """Samples of a micro-batch of one rank, and the micro-batches of a step."""

    batch_size: int
    accumulate: int


def share_of_rank(global_batch: int | None, ranks: int) -> int | None:
    """Returns the samples of one rank in a step; None: not requested; 0: it cannot be dealt out."""
    if global_batch is None:
        return None
    return 0 if global_batch % ranks else global_batch // ranks


def micro_batches(share: int | None, largest: int) -> MicroBatches | None:
    """Returns the largest micro-batch up to `largest`; None: none is so small.

    `share` are the samples of a rank in a step, which micro-batches of one size make up.
    """
    if largest < 1:
        return None
    if share is None:
        return MicroBatches(batch_size=min(largest, MOST_SAMPLES), accumulate=1)
    size = next(size for size in range(min(largest, share), 0, -1) if share % size == 0)
    return MicroBatches(batch_size=size, accumulate=share // size)


def next_larger(share: int | None, batch_size: int) -> int | None:
    """Returns the next micro-batch that could have been taken; None: there is none."""
    if share is None:
        return batch_size + 1 if batch_size < MOST_SAMPLES else None
    return next((size for size in range(batch_size + 1, share + 1) if share % size == 0), None)
