"""Logits that are not computed yet: the input of the output layer in the shape of its output.

In: the hidden states that reach the output layer. Out: a tensor without memory, which may be
reshaped, shifted and cast; torch.nn.functional.cross_entropy computes the loss in pieces.
Convention: whatever else is done with it is refused; nothing is guessed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  # its usual name

from planner.errors import UsageError

_SAME_ROWS = frozenset(
    {"view", "reshape", "flatten", "unflatten", "contiguous", "squeeze", "unsqueeze"}
)
_CASTS = {
    "float": torch.float32, "double": torch.float64, "half": torch.float16,
    "bfloat16": torch.bfloat16,
}  # fmt: skip
_FACTS = frozenset(
    re.findall(
        r"\w+",
        """size dim numel ndimension is_floating_point is_contiguous stride element_size get_device
    __len__ __repr__ __hash__ shape dtype device ndim requires_grad is_cuda is_cpu is_meta layout
    grad_fn is_leaf is_sparse is_quantized is_nested nbytes itemsize grad""",
    )
)
LossOfRows = Callable[..., torch.Tensor]


class PostponedLogits(torch.Tensor):
    """Rows of hidden states that stand for rows of logits; `cast` is the dtype asked for."""

    _hidden: torch.Tensor
    _cast: torch.dtype | None
    _loss: LossOfRows

    @staticmethod
    def __new__(
        cls,
        hidden: torch.Tensor,
        *,
        classes: int,
        dtype: torch.dtype,
        loss: LossOfRows,
        cast: torch.dtype | None = None,
    ) -> PostponedLogits:
        """Makes logits of `classes` values for each row; `loss` computes theirs in pieces."""
        made: PostponedLogits = torch.Tensor._make_wrapper_subclass(
            cls, (*hidden.shape[:-1], classes), dtype=cast or dtype, device=hidden.device
        )
        made._hidden, made._cast, made._loss = hidden, cast, loss
        return made

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = _name(func)
        if name in _FACTS:
            with torch._C.DisableTorchFunctionSubclass():
                return func(*args, **kwargs)
        given = args[0] if args else None
        if func is F.cross_entropy:
            return _cross_entropy(*args, **kwargs)
        if isinstance(given, PostponedLogits):
            if name in _SAME_ROWS:
                return _same_rows(given, func, args[1:], kwargs)
            if name == "__getitem__":
                return _part(given, args[1])
            if name in _CASTS and len(args) == 1:
                return _with(given, given._hidden, _CASTS[name])
            if name in ("to", "type"):
                return _with(given, given._hidden, _dtype_in((*args[1:], *kwargs.values())))
        raise _refusal(name)

    @classmethod
    def __torch_dispatch__(  # type: ignore[override] # as torch calls it
        cls, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        raise _refusal(str(func))


def _name(func: Any) -> str:
    """Returns the name of a function; of the getter of an attribute, that of the attribute."""
    name = str(getattr(func, "__name__", func))
    if name == "__get__":
        return str(getattr(func.__self__, "__name__", name))
    return name


def _refusal(name: str) -> UsageError:
    return UsageError(
        f"the loss was to be computed in pieces (--chunked-loss), and the code passes the logits "
        f"to {name}; between output layer and torch.nn.functional.cross_entropy they may be "
        "reshaped, shifted and cast: leave the option out, or compute the pieces in training_step"
    )


def _with(
    logits: PostponedLogits, hidden: torch.Tensor, cast: torch.dtype | None = None
) -> PostponedLogits:
    if cast is not None and logits._cast not in (None, cast):
        raise _refusal(f"a second cast, to {cast}")
    return PostponedLogits(
        hidden,
        classes=logits.shape[-1],
        dtype=logits.dtype,
        loss=logits._loss,
        cast=cast or logits._cast,
    )


def _same_rows(logits: PostponedLogits, func: Any, args: Any, kwargs: Any) -> PostponedLogits:
    shape = func(torch.empty(logits.shape, device="meta"), *args, **kwargs).shape
    if not shape or shape[-1] != logits.shape[-1]:
        raise _refusal(f"{_name(func)}, which breaks up their rows")
    return _with(logits, logits._hidden.reshape(*shape[:-1], logits._hidden.shape[-1]))


def _part(logits: PostponedLogits, index: Any) -> PostponedLogits:
    """Takes some rows, like [..., :-1, :]; the last dimension stays whole."""
    places = index if isinstance(index, tuple) else (index,)
    if not all(one is None or one is ... or isinstance(one, (int, slice)) for one in places):
        raise _refusal("an index that is no slice")
    dots = any(one is ... for one in places)
    taken = sum(one is not None and one is not ... for one in places)
    reaches_last = places[-1] is not ... if dots else taken == logits.dim()
    if reaches_last and places[-1] != slice(None):
        raise _refusal("an index in the dimension of the classes")
    return _with(logits, logits._hidden[index])


def _dtype_in(values: tuple[Any, ...]) -> torch.dtype | None:
    for value in values:
        if isinstance(value, torch.dtype):
            return value
        if isinstance(value, torch.Tensor):
            return value.dtype
        if isinstance(value, str) and "Tensor" in value:
            raise _refusal("type, with a name of a class")
    return None


def _cross_entropy(
    logits: Any,
    target: Any,
    weight: Any = None,
    size_average: Any = None,
    ignore_index: int = -100,
    reduce: Any = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    **names: Any,
) -> Any:
    logits = names.get("input", logits)
    if not isinstance(logits, PostponedLogits) or isinstance(target, PostponedLogits):
        raise _refusal("cross_entropy as a target")
    given = {
        "weights of classes": weight is not None,
        "size_average or reduce": size_average is not None or reduce is not None,
        f"reduction {reduction!r}": reduction not in ("mean", "sum"),
        "targets that are no indices": target.is_floating_point(),
        f"logits of {logits.dim()} dimensions": logits.dim() != 2,
    }
    for what, is_given in given.items():
        if is_given:
            raise _refusal(f"cross_entropy with {what}")
    return logits._loss(
        logits._hidden,
        target,
        cast=logits._cast,
        ignore_index=ignore_index,
        reduction=reduction,
        label_smoothing=label_smoothing,
    )
