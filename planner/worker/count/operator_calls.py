"""Costs of single calls of operators, and records of alike calls.

In: an operator with its arguments and result. Out: OperatorCall, OperatorRecords. Convention: a
cost is found once for each operator and layout of its tensors, since a model repeats itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from planner.wire.call_order import CallOrder
from planner.wire.kernel_facts import AttentionFacts, ConvolutionFacts, LoopFacts
from planner.wire.trace import FlopSource, Issuer, OperatorRecord, Phase, TensorShape
from planner.worker.count.call_facts import attention_facts, convolution_facts
from planner.worker.count.call_flops import call_flops, has_formula
from planner.worker.count.operator_rules import is_elementwise
from planner.worker.count.traffic import moved_bytes, tensors_of


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorCall:
    """One call. `devices` are the device types of its tensors, `launches` its kernels."""

    name: str
    inputs: tuple[TensorShape, ...]
    outputs: tuple[TensorShape, ...]
    flops: int | None
    flop_source: FlopSource
    read_bytes: int
    written_bytes: int
    devices: frozenset[str]
    launches: int = 0
    attention: AttentionFacts | None = None
    convolution: ConvolutionFacts | None = None
    loop: LoopFacts | None = None
    issuer: Issuer = Issuer.EAGER

    @property
    def computes(self) -> bool:
        """Whether there is a kernel: a view and memory without values have none."""
        return bool(self.flops or self.read_bytes or self.written_bytes)


class OperatorCosts:
    """Calls by operator and by the layout of their arguments."""

    def __init__(self) -> None:
        self._known: dict[Any, OperatorCall] = {}

    def of(
        self,
        func: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        out: Any,
        *,
        launches: int = 0,
        issuer: Issuer = Issuer.EAGER,
    ) -> OperatorCall:
        """Returns the call of the overload `func` that has given `out` and launched kernels."""
        seen: set[int] = set()  # a tensor that comes twice is read once
        layouts = _layout(args, seen), _layout(kwargs, seen), len(seen), _layout(out, set())
        key = (func, layouts, issuer)
        try:
            known = self._known.get(key)
        except TypeError:  # an argument without a hash
            return replace(_call(func, args, kwargs, out, launches), issuer=issuer)
        if known is None:
            found = _call(func, args, kwargs, out, launches)
            known = self._known[key] = replace(found, issuer=issuer)
        return known


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a step a call was made: the phase, and the stage of a pipeline."""

    phase: Phase
    stage: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedCalls:
    """Alike calls as one record, in order of first appearance, and the order of all calls."""

    operators: tuple[OperatorRecord, ...]
    order: CallOrder


def recorded_calls(
    calls: Sequence[tuple[Place, OperatorCall]], device: torch.device
) -> RecordedCalls:
    """Returns the calls with a kernel on `device`."""
    same = Counter((place, id(call)) for place, call in calls)  # cheaper to hash than their values
    folded: Counter[tuple[Place, OperatorCall]] = Counter()
    numbers: dict[tuple[Place, int], int] = {}
    known: dict[tuple[Place, OperatorCall], int] = {}
    for place, call in {(place, id(call)): (place, call) for place, call in calls}.values():
        if call.computes and device.type in call.devices:
            folded[place, call] += same[place, id(call)]
            numbers[place, id(call)] = known.setdefault((place, call), len(known))
    operators = tuple(
        OperatorRecord(
            name=call.name,
            phase=place.phase,
            inputs=call.inputs,
            outputs=call.outputs,
            calls=number,
            flops=call.flops,
            flop_source=call.flop_source,
            read_bytes=call.read_bytes,
            written_bytes=call.written_bytes,
            launches=call.launches,
            attention=call.attention,
            convolution=call.convolution,
            loop=call.loop,
            issuer=call.issuer,
            stage=place.stage,
        )
        for (place, call), number in folded.items()
    )
    return RecordedCalls(operators=operators, order=_order(calls, numbers))


def _order(
    calls: Sequence[tuple[Place, OperatorCall]], numbers: dict[tuple[Place, int], int]
) -> CallOrder:
    """Returns the order of the calls that have a number; the others are views before them."""
    operators, views, since = [], [], 0
    for place, call in calls:
        number = numbers.get((place, id(call)))
        if number is None:
            since += 1
            continue
        operators.append(number)
        views.append(since)
        since = 0
    return CallOrder(operators=tuple(operators), views=tuple(views))


def _call(
    func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any, launches: int
) -> OperatorCall:
    name = func._schema.name
    read_bytes, written_bytes = moved_bytes(func, args, kwargs, out)
    counted = has_formula(func)
    return OperatorCall(
        name=name,
        inputs=tuple(shapes_of(_given(func, args, kwargs))),
        outputs=tuple(shapes_of(out if isinstance(out, tuple) else (out,))),
        flops=call_flops(func, args, kwargs, out) if counted else None,
        flop_source=_flop_source(func, name, counted),
        read_bytes=read_bytes,
        written_bytes=written_bytes,
        devices=frozenset(tensor.device.type for tensor in tensors_of((args, kwargs, out))),
        launches=launches,
        attention=attention_facts(func, args, kwargs),
        convolution=convolution_facts(func, args, kwargs),
    )


def _given(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
    """Returns the arguments without those that only take a result (out=)."""
    results = {one.name for one in func._schema.arguments if one.is_out}
    return (*args, *(value for name, value in kwargs.items() if name not in results))


def _flop_source(func: Any, name: str, counted: bool) -> FlopSource:
    if counted:
        return FlopSource.FORMULA
    if torch.Tag.pointwise in func.tags or is_elementwise(name):
        return FlopSource.ELEMENTWISE
    return FlopSource.UNKNOWN


def shapes_of(values: tuple[Any, ...]) -> Iterator[TensorShape]:
    """Yields the shapes of the tensors among arguments, alike tensors of one argument as one."""
    for value in values:
        numbers = Counter(map(_shape, tensors_of(value)))
        for tensor, number in numbers.items():
            yield replace(tensor, number=number)


def _shape(tensor: torch.Tensor) -> TensorShape:
    return TensorShape(
        shape=tuple(tensor.shape),
        dtype=str(tensor.dtype).removeprefix("torch."),
        channels_last=_is_channels_last(tensor),
    )


def _is_channels_last(tensor: torch.Tensor) -> bool:
    """Returns whether it is channels_last only; False if also contiguous, as with one channel."""
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    wanted = formats.get(tensor.ndim)
    if wanted is None or tensor.layout is not torch.strided or tensor.is_contiguous():
        return False
    return tensor.is_contiguous(memory_format=wanted)


def _layout(tree: Any, seen: set[int]) -> Any:
    """Returns the parts of an argument that determine its cost. Adds its tensors to `seen`."""
    if isinstance(tree, torch.Tensor):
        seen.add(id(tree))
        strides = tree.stride() if tree.layout is torch.strided else tree.layout
        return (tree.shape, strides, tree.dtype, tree.device)
    if isinstance(tree, (tuple, list)):
        return tuple([_layout(item, seen) for item in tree])
    if isinstance(tree, dict):
        return tuple([(name, _layout(item, seen)) for name, item in tree.items()])
    return tree
