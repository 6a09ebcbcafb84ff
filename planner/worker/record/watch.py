"""The events of a run while it goes on; Watch receives them and does nothing.

In: marks of measure.py and loop.py. Out: nothing. Convention: a phase lasts from its mark to the
next one; what ends a step ends its last phase.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from planner.wire.trace import Phase


class Watch:
    """Receives each part of a run; costs nothing. Recorders override the methods they need."""

    def begin(self) -> None:
        """Begins the run, before the first request."""

    def built(self, model: nn.Module, optimizer: Any | None, scaler: Any | None) -> None:
        """Begins the first step: the model is on the card."""

    def averaged(self, module: nn.Module) -> None:
        """Reports a copy of the model with the average of its weights."""

    def enter(self, phase: Phase, inputs: Any = None) -> None:
        """Begins `phase`; `inputs` is the batch on the card, where it is new."""

    def token(self, cache: Iterable[torch.Tensor]) -> None:
        """Begins a round of a loop that writes tokens; `cache` is what it has kept of them."""

    def stepped(self, optimizer: Any, *, by_user: bool) -> None:
        """Reports an optimizer that begins its step; `by_user`: in the user's own training_step."""

    def end_step(self) -> None:
        """Ends a step; later events belong to the next one."""

    def end_steps(self) -> None:
        """Ends the steps: all have ended, or one has failed."""

    def end(self) -> None:
        """Ends the run, completed or failed."""
