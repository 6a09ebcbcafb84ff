"""A model in the hands of a training_step, whose call of it is watched, stopped or answered.

In: the model, a function to call in its place. Out: CalledModel. Convention: a training_step that a
pipeline can run calls the model once, as model(...); all else that it takes from the model is the
model's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from planner.errors import UsageError


class CalledModel(nn.Module):
    """Stands for a model; calls of it go to another function."""

    def __init__(self, model: nn.Module, act: Callable[..., Any]) -> None:
        super().__init__()
        object.__setattr__(self, "_planner_model", model)  # no submodule
        object.__setattr__(self, "_planner_act", act)
        self._planner_calls = 0
        self.training = model.training

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the function in the model's place."""
        self._planner_calls += 1
        if self._planner_calls > 1:
            self.check_once()
        return self._planner_act(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_planner_model"], name)

    def parameters(self, recurse: bool = True) -> Iterator[nn.Parameter]:
        """Returns those of the model."""
        found: Iterator[nn.Parameter] = self.__dict__["_planner_model"].parameters(recurse)
        return found

    def check_once(self) -> None:
        """Refuses a training_step that has not called the model once.

        Raises:
            UsageError: says how often it did.
        """
        if self._planner_calls != 1:
            raise UsageError(
                "pp (--parallel) needs a training_step that calls the model once, as model(...), "
                f"and it has done so {self._planner_calls} times: let forward do all that needs "
                "its parameters, or write parallelize(model, mesh) in the model file"
            )


class _CalledError(BaseException):
    """The call that a training_step makes of its model."""

    def __init__(self, args: Any, kwargs: Any, cast: torch.dtype | None) -> None:
        super().__init__()
        self.call = (args, kwargs, cast)


def called_with(
    model: nn.Module, training_step: Callable[..., Any], batch: Any, device: torch.device
) -> tuple[Any, Any, torch.dtype | None]:
    """Returns the arguments with which a training_step calls its model, and autocast's dtype there.

    Raises:
        UsageError: it does not call the model.
    """

    def stop(*args: Any, **kwargs: Any) -> Any:
        is_cast = torch.is_autocast_enabled(device.type)
        raise _CalledError(args, kwargs, torch.get_autocast_dtype(device.type) if is_cast else None)

    stand_in = CalledModel(model, stop)
    try:
        training_step(stand_in, batch)
    except _CalledError as found:
        return found.call
    stand_in.check_once()
    raise AssertionError("a call is stopped")


@contextmanager
def cast_as(dtype: torch.dtype | None, device: torch.device) -> Iterator[None]:
    """Is autocast with this dtype, or none."""
    with torch.autocast(device.type, dtype=dtype, enabled=dtype is not None):
        yield
