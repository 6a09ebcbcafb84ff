"""Clips gradients as an ordinary loop does, between backward and the optimizer's step.

In: the model, its optimizers and GradScaler, the norm. Out: nothing. Convention: the total norm is
of all gradients of the model; nothing is read from the card.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn


def clip_gradients(
    model: nn.Module,
    max_norm: float | None,
    *,
    optimizers: Sequence[Any],
    scaler: torch.amp.GradScaler | None,
) -> None:
    """Scales the gradients down where their norm is above `max_norm`; None leaves them.

    With a GradScaler they are unscaled first, so that the norm is that of the gradients.
    """
    if max_norm is None:
        return
    if scaler is not None:
        for optimizer in optimizers:
            scaler.unscale_(optimizer)
    nn.utils.clip_grad_norm_(model.parameters(), max_norm)
