"""Values for tensors without storage: none are drawn or filled in.

In: a block of code. Out: the same shapes. Convention: only meta tensors are concerned.
torch itself fills in nothing either, but imports its symbolic shapes (half a second) for that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import init
from torch.overrides import TorchFunctionMode

from planner.worker.model.layout import empty_as

_IN_PLACE = {
    torch.Tensor.normal_,
    torch.Tensor.uniform_,
    torch.Tensor.random_,
    torch.Tensor.exponential_,
    torch.Tensor.log_normal_,
    torch.Tensor.cauchy_,
    torch.Tensor.geometric_,
    # these pass themselves to the mode, and hide their inner calls from it
    init.normal_,
    init.uniform_,
    init.trunc_normal_,
}
# Factories that imitate a tensor.
LIKE = {
    torch.empty_like,
    torch.zeros_like,
    torch.ones_like,
    torch.full_like,
    torch.rand_like,
    torch.randn_like,
    torch.randint_like,
}


class DrawNothing(TorchFunctionMode):
    """Makes filling or imitating a meta tensor cost nothing."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Skips the filling of meta tensors; torch calls this for every function in the block."""
        kwargs = kwargs or {}
        if func in _IN_PLACE:
            tensor: torch.Tensor = args[0] if args else kwargs["tensor"]
            if tensor.device.type == "meta":
                return tensor
        imitates = func in LIKE and kwargs.keys() <= {"dtype"}
        if imitates and args and args[0].device.type == "meta":
            return empty_as(args[0], args[0].device, kwargs.get("dtype"))
        return func(*args, **kwargs)
