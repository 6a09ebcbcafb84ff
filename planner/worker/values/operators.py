"""Known tensors in, known tensors out: an operator of the card, run on the host.

In: an overload, its arguments and their values. Out: its results on the host, or None if the host
cannot compute them. Convention: the results are only kept, the user's program does not get them; if
the CPU lacks a kernel, they are unknown, not wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from planner.worker.values import twins
from planner.worker.values.rules import Rule, tensors

ValueOf = Callable[[torch.Tensor], torch.Tensor | None]
_CPU = torch.device("cpu")


class _UnknownError(Exception):
    """An argument has no value."""


def on_host(
    rule: Rule,
    func: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    value_of: ValueOf,
    generator: torch.Generator,
) -> Any:
    """Returns the call's result on the host; None if an argument is unknown or the CPU refuses.

    If the call writes arguments, it also writes their values on the host.
    """

    def moved(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            if value.device.type == "cpu":
                return value
            found = value_of(value) if twins.is_plain(value) else None
            if found is None:
                raise _UnknownError
            return found
        if isinstance(value, torch.device):
            return _CPU
        if isinstance(value, (list, tuple)):
            return type(value)(moved(item) for item in value) if value else value
        if isinstance(value, torch.Generator):
            return generator
        return value

    try:
        given = tuple(moved(value) for value in args)
        named = {name: moved(value) for name, value in kwargs.items()}
    except (_UnknownError, TypeError):
        return None
    named.pop("pin_memory", None)
    if rule.is_random and rule.takes_generator:
        named["generator"] = generator
    try:
        if rule.is_random and not rule.takes_generator:
            return _drawn_apart(func, given, named, generator)
        out = func(*given, **named)
        return () if out is None else out  # a list that was written in place
    except Exception:  # no such kernel on the CPU, or arguments that it refuses: not known
        return None


def _drawn_apart(
    func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], generator: torch.Generator
) -> Any:
    """Runs an operator that draws from torch's own generator, and restores the generator."""
    before = torch.random.get_rng_state()
    torch.random.set_rng_state(generator.get_state())
    try:
        return func(*args, **kwargs)
    finally:
        generator.set_state(torch.random.get_rng_state())
        torch.random.set_rng_state(before)


def is_keepable(out: Any) -> bool:
    """Returns whether a call's results on the card are small enough to keep their values."""
    return all(
        twins.is_small(tensor) or twins.is_known(tensor)
        for tensor in tensors(out if isinstance(out, (tuple, list)) else (out,))
        if twins.is_plain(tensor)
    )
