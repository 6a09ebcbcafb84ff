"""What a run tells of itself while it goes on; Watch listens and does nothing.

In: marks of measure.py and loop.py. Out: nothing. Convention: a phase lasts from its mark to the
next one; what ends a step ends its last phase.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from planner.wire.trace import Phase


class Watch:
    """Is told of each part of a run; costs nothing. The recorder overrides what it needs."""

    def begin(self) -> None:
        """The run begins; nothing has been asked for yet."""

    def built(self, model: nn.Module, optimizer: Any | None, scaler: Any | None) -> None:
        """The model is on the card, the first step begins."""

    def averaged(self, module: nn.Module) -> None:
        """A copy of the model is kept, with the average of its weights."""

    def enter(self, phase: Phase, inputs: Any = None) -> None:
        """`phase` begins; `inputs` is the batch on the card, where it is new."""

    def stepped(self, optimizer: Any, *, by_user: bool) -> None:
        """An optimizer begins its step; `by_user`: within the user's own training_step."""

    def end_step(self) -> None:
        """A step is over; what follows belongs to the next one."""

    def end_steps(self) -> None:
        """No step follows: all have ended, or one has failed."""

    def end(self) -> None:
        """The run is over, whatever became of it."""
