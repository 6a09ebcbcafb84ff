"""Finds the placement of operators on lists of tensors once for tensors that are alike.

In: torch.distributed.tensor. Out: the same placements, sooner. Convention: PyTorch's own rules are
asked; an operator of an optimizer (`_foreach_mul_`, `_fused_adamw_`) treats entry i of its lists
alone, so that entries with equal shapes, types and placements have one answer.

A large model has hundreds of parameters of a dozen kinds, and each run is a new process: the
question for each of them is most of the time of a short run.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_MARK = "_planner_asks_once"
_PREFIXES = ("aten::_foreach_", "aten::_fused_")


def ask_once() -> None:
    """Lets DTensor ask once for entries that are alike, in this process, from now on."""
    from torch.distributed.tensor import DTensor, _sharding_prop

    names: Any = DTensor
    propagator = names._op_dispatcher.sharding_propagator
    if getattr(propagator, _MARK, False) or not hasattr(_sharding_prop, "LocalLRUCache"):
        return
    setattr(propagator, _MARK, True)
    ask = asking_once(propagator.propagate_op_sharding_non_cached)
    propagator.propagate_op_sharding_non_cached = ask
    propagator.propagate_op_sharding = _sharding_prop.LocalLRUCache(ask)


def asking_once(ask: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Returns a function from OpSchema to OutputSharding that asks `ask` as little as it can."""

    @functools.wraps(ask)
    def answer(schema: Any) -> Any:
        short = _shortened(schema)
        if short is None:
            return ask(schema)
        found = ask(short.schema)
        if found.needs_redistribute or found.redistribute_schema is not None:
            return ask(schema)
        if isinstance(found.output_spec, list | tuple):
            kind = type(found.output_spec)
            found.output_spec = kind(found.output_spec[place] for place in short.places)
        return found

    return answer


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shortened:
    schema: Any
    """The operator on one entry of each kind."""
    places: tuple[int, ...]
    """For each entry of the whole lists, its place in the short ones."""


def _shortened(schema: Any) -> _Shortened | None:
    """Returns the operator without repeated entries; None: it must be asked about as it is."""
    if not schema.op._schema.name.startswith(_PREFIXES):
        return None
    lists = [one for one in schema.args_schema if isinstance(one, list | tuple)]
    tensors = [one for one in lists if one and _is_placed(one[0])]
    if not tensors or len({len(one) for one in tensors}) != 1:
        return None
    length = len(tensors[0])
    if any(len(one) not in (0, length) for one in lists):
        return None
    kinds: dict[tuple[Any, ...], int] = {}
    firsts: list[int] = []
    places = []
    for index, column in enumerate(zip(*tensors, strict=True)):
        if column not in kinds:
            kinds[column] = len(firsts)
            firsts.append(index)
        places.append(kinds[column])
    if len(firsts) == length:
        return None
    arguments = tuple(
        type(one)(one[index] for index in firsts) if isinstance(one, list | tuple) and one else one
        for one in schema.args_schema
    )
    short = type(schema)(schema.op, arguments, schema.kwargs_schema, schema_info=schema.schema_info)
    return _Shortened(schema=short, places=tuple(places))


def _is_placed(entry: object) -> bool:
    from torch.distributed.tensor._dtensor_spec import DTensorSpec

    return isinstance(entry, DTensorSpec)
