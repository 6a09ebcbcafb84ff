"""Printing of a tensor on the card: its values are read at once, and shown like a CPU tensor's.

In: repr() and str() of a tensor. Out: torch's own text. Convention: torch itself prints by a dozen
operators outside of any dispatch mode; no pass of values could answer their reads.
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
    """Replaces torch's printing function."""
    _printer._str = _str


def _str(self: torch.Tensor, *, tensor_contents: str | None = None) -> str:
    if tensor_contents is None and twins.is_plain(self) and self.numel() <= _LARGEST:
        with torch.no_grad():
            host = self.detach().to("cpu")
            tensor_contents = _printer._tensor_str(host, _INDENT)
    text: str = _original(self, tensor_contents=tensor_contents)
    return text
