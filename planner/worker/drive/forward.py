"""The default training step, first half: how a batch is passed to the model.

In: the model and a batch. Out: the model's output and the target in the batch, if any.
Convention: a dict is passed by keyword. A tuple with one item more than forward requires has the
target as its last item.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from torch import nn

from planner.worker.model.compiled import original

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def call(model: nn.Module, batch: Any, required: int) -> Any:
    """Runs the forward; `required` is `required_inputs(model)`."""
    if isinstance(batch, Mapping):
        return model(**batch)
    if _is_sequence(batch):
        return model(*batch[: _taken(batch, required)])
    return model(batch)


def target_of(batch: Any, required: int) -> Any | None:
    """Returns the target: the item of the batch that the model does not get; None without one."""
    if _is_sequence(batch) and _taken(batch, required) < len(batch):
        return batch[-1]
    return None


def required_inputs(model: nn.Module) -> int:
    """Returns the number of forward's positional parameters without a default, at least 1."""
    forward = original(model).forward  # torch.compile hides it behind *args
    try:
        parameters = inspect.signature(forward).parameters.values()
    except (TypeError, ValueError):
        return 1
    needed = [p for p in parameters if p.kind in _POSITIONAL and p.default is p.empty]
    return max(1, len(needed))


def _is_sequence(batch: Any) -> bool:
    return isinstance(batch, (tuple, list)) and not hasattr(batch, "batch_sizes")


def _taken(batch: Any, required: int) -> int:
    return required if len(batch) == required + 1 else len(batch)
