"""Lengths of CTC's loss: read at once, as torch reads them itself before it computes.

In: calls of torch.ctc_loss. Out: the same loss. Convention: below a dispatch mode torch hands the
lengths on as tensors, and its kernels read them again in backward; without a mode it does not. A
pass of values has a mode and the run that counts has none: with plain numbers both read alike.
"""

from __future__ import annotations

import functools
from typing import Any

import torch

_original: Any = torch.ctc_loss


def install() -> None:
    """Replaces torch.ctc_loss, which torch.nn's functions and modules call."""
    torch.ctc_loss = _ctc_loss


@functools.wraps(_original)
def _ctc_loss(
    log_probs: torch.Tensor,
    targets: torch.Tensor,
    input_lengths: Any,
    target_lengths: Any,
    *args: Any,
    **keywords: Any,
) -> torch.Tensor:
    if isinstance(input_lengths, torch.Tensor) and isinstance(target_lengths, torch.Tensor):
        input_lengths, target_lengths = input_lengths.tolist(), target_lengths.tolist()
    loss: torch.Tensor = _original(
        log_probs, targets, input_lengths, target_lengths, *args, **keywords
    )
    return loss
