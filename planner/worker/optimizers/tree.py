"""The result of a build_optimizer: one optimizer, several in a tuple, list or dict, schedulers.

In: the result of the user's function. Out: its optimizers, in its own order. Convention: an object
with step() and zero_grad() is an optimizer, one with only step() a scheduler.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import torch


def optimizers_in(given: Any) -> tuple[Any, ...]:
    """Returns every optimizer in `given`, once."""
    found = [one for one in _leaves(given) if is_optimizer(one)]
    return tuple({id(one): one for one in found}.values())


def schedulers_in(given: Any) -> tuple[Any, ...]:
    """Returns the schedulers in `given`: objects with step() that are no optimizers."""
    return tuple(one for one in _leaves(given) if _is_scheduler(one))


def strangers_in(given: Any) -> tuple[Any, ...]:
    """Returns the objects that are no optimizer, scheduler, None, number or text."""
    return tuple(
        one
        for one in _leaves(given)
        if not (is_optimizer(one) or _is_scheduler(one))
        and not isinstance(one, (str, int, float, type(None)))
    )


def names_in(given: Any) -> str:
    """Returns the optimizers' class names for the report: "Adam", "2 x Adam, SGD"."""
    numbers = Counter(type(one).__name__ for one in optimizers_in(given))
    return ", ".join(
        name if number == 1 else f"{number} x {name}" for name, number in numbers.items()
    )


def states_of(given: Any) -> Iterator[torch.Tensor]:
    """Yields the tensors that the optimizers keep for their parameters."""
    for one in optimizers_in(given):
        for kept in getattr(one, "state", {}).values():
            for value in kept.values() if isinstance(kept, dict) else ():
                if isinstance(value, torch.Tensor):
                    yield value


def is_optimizer(one: Any) -> bool:
    """Returns whether `one` is an object with step() and zero_grad()."""
    return not isinstance(one, type) and _has(one, "step") and _has(one, "zero_grad")


def _is_scheduler(one: Any) -> bool:
    return not isinstance(one, type) and _has(one, "step") and not _has(one, "zero_grad")


def _has(one: Any, method: str) -> bool:
    return callable(getattr(one, method, None))


def _leaves(given: Any) -> Iterator[Any]:
    if is_optimizer(given):  # also one that is a mapping or a list itself
        yield given
    elif isinstance(given, Mapping):
        for value in given.values():
            yield from _leaves(value)
    elif isinstance(given, (tuple, list)):
        for value in given:
            yield from _leaves(value)
    else:
        yield given
