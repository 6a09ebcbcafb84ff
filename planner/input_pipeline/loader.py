"""Holds the settings of torch's DataLoader that decide the speed and the memory of batches.

In: the words of a caller. Out: Loader. Convention: the defaults of torch, except pinned memory,
which training scripts switch on.
"""

from __future__ import annotations

from dataclasses import dataclass

from planner.errors import UsageError

# torch.utils.data.DataLoader: the value of `prefetch_factor` where it is None, with workers.
DEFAULT_PREFETCH_FACTOR = 2
# The word for num_workers=0: the process that trains loads its batches between its steps.
NO_WORKERS = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Loader:
    """The settings of a DataLoader. 0 workers: the training process loads between its steps.

    `copies_overlap`: the copy to the card runs during the step: pinned, non_blocking and ahead of
    its use.

    Raises:
        UsageError: less than 0 workers, or workers that prefetch nothing.
    """

    workers: int
    prefetch_factor: int = DEFAULT_PREFETCH_FACTOR
    pin_memory: bool = True
    persistent_workers: bool = False
    copies_overlap: bool = True

    def __post_init__(self) -> None:
        if self.workers < 0:
            raise UsageError(f"{self.workers} workers: give 1 or more, as in --workers 8")
        if self.prefetch_factor < 1:
            raise UsageError(
                f"a prefetch factor of {self.prefetch_factor}: a worker prepares at least 1 batch "
                "ahead; torch's default is 2"
            )
        if self.persistent_workers and not self.workers:
            raise UsageError("persistent workers need at least 1 worker, as torch does")

    @property
    def outstanding_batches(self) -> int:
        """Returns the number of batches requested from the workers and not yet taken."""
        return self.prefetch_factor * self.workers
