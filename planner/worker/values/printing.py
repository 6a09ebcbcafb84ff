"""Printing a tensor of the card: its values are read at once, and shown as those of a CPU tensor.

In: repr() and str() of a tensor. Out: torch's own text. Convention: torch would print by a dozen
operators outside of every dispatch mode, whose reads no pass of values could answer.
"""

from __future__ import annotations

from typing import Any

import torch

from planner.worker.values import twins

_printer: Any = torch._tensor_str
_original = _printer._str
_LARGEST = 1 << 24  # elements
_INDENT = len("tensor(")


def install() -> None:
    """Puts the printing function in the place of torch's."""
    _printer._str = _str


def _str(self: torch.Tensor, *, tensor_contents: str | None = None) -> str:
    if tensor_contents is None and twins.is_plain(self) and self.numel() <= _LARGEST:
        with torch.no_grad():
            host = self.detach().to("cpu")
            tensor_contents = _printer._tensor_str(host, _INDENT)
    text: str = _original(self, tensor_contents=tensor_contents)
    return text
