"""Tensors given to kernels that torch's dispatcher does not see: their values are not known.

In: launches through Triton, by any code. Out: tensors that are forgotten. Convention: a kernel may
write any tensor that it gets.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

import torch

from planner.worker.engines.kernel_launches import heard
from planner.worker.values import twins


def watched() -> AbstractContextManager[None]:
    """Observes launches within the context."""
    return heard(_forget)


def _forget(_: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    for value in (*args, *kwargs.values()):
        if isinstance(value, torch.Tensor) and twins.is_plain(value):
            twins.forget(value)
