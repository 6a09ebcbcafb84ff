"""Gradient accumulation over many micro-batches: only some are run, and represent all.

In: the requested step. Out: the step that is run, an assumption about it, and a warning if memory
grows from one micro-batch to the next. From the second on, each micro-batch of a plain loop
requests the same memory; the user's own code may keep something of each.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch

from planner.config.step import StepConfig
from planner.units import format_bytes

MOST_RUN = 64


def shortened(config: StepConfig) -> StepConfig:
    """Returns the step with at most MOST_RUN micro-batches."""
    return replace(config, accumulate=min(config.accumulate, MOST_RUN))


@dataclass(slots=True, kw_only=True)
class Accumulation:
    """Watches the micro-batches of a step; `asked` is their requested number."""

    asked: int
    device: torch.device
    _allocated_bytes: list[int] = field(default_factory=list)

    def after_micro_batch(self) -> None:
        """Notes that one more micro-batch has ended."""
        is_watched = self.asked > MOST_RUN and self.device.type == "cuda"
        if is_watched and len(self._allocated_bytes) < MOST_RUN:
            self._allocated_bytes.append(torch.cuda.memory_allocated(self.device))

    def assumptions(self) -> tuple[str, ...]:
        """Returns a sentence on micro-batches that were not run."""
        if self.asked <= MOST_RUN:
            return ()
        return (
            f"accumulation: {MOST_RUN} of the {self.asked} micro-batches of a step were run; each "
            "of the others was taken to ask for the same memory",
        )

    def warnings(self) -> tuple[str, ...]:
        """Returns a warning if memory grew from one micro-batch to the next."""
        seen = self._allocated_bytes
        if len(seen) < MOST_RUN:
            return ()
        grown_bytes = seen[-1] - seen[MOST_RUN // 2 - 1]
        if grown_bytes <= 0:
            return ()
        left_bytes = grown_bytes * (self.asked - MOST_RUN) // (MOST_RUN // 2)
        return (
            f"accumulation: the memory that is kept grew by {format_bytes(grown_bytes)} over the "
            f"last {MOST_RUN // 2} micro-batches that were run, so a step of {self.asked} may need "
            f"about {format_bytes(left_bytes)} more than is said here; the step keeps something of "
            "each micro-batch, a loss with its graph for example",
        )
