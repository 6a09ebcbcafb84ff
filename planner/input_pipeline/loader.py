"""The settings of torch's DataLoader that decide how fast batches arrive and what they hold.

In: the words of a caller. Out: Loader. Convention: the defaults of torch, but for pinned memory,
which training scripts switch on.
"""

from __future__ import annotations

from dataclasses import dataclass

from planner.errors import UsageError

# torch.utils.data.DataLoader: of `prefetch_factor`, None with workers.
DEFAULT_PREFETCH_FACTOR = 2
# The word for num_workers=0: the process that trains loads its batches between its steps.
NO_WORKERS = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Loader:
    """How batches are loaded. 0 workers: in the process that trains, between its steps.

    `copies_overlap` says that the copy to the card goes on beside the step: pinned, non_blocking
    and ahead of its use.

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
        """Batches asked of the workers and not yet taken."""
        return self.prefetch_factor * self.workers
