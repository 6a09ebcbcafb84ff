"""Costs of kernels that Triton made: loops fused by torch.compile, and a user's own.

In: a launch, as planner/worker/engines/kernel_launches.py tells it. Out: OperatorCall. Convention:
what inductor writes into its kernels' records (names of arguments, sizes, loads) is read; of a
kernel without such a record each tensor is moved once. Sources: torch/_inductor/codegen/triton.py,
torch/_inductor/runtime/triton_heuristics.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import Any

import torch

from planner.wire.kernel_facts import AttentionFacts, LoopFacts
from planner.wire.trace import FlopSource
from planner.worker.count.operator_calls import OperatorCall, shapes_of
from planner.worker.count.traffic import occupied_bytes

COMPILED, BY_HAND = "inductor", "triton"
"""The library of an operator's name."""

# Tuners of a function by hand launch the function itself, which is heard as well.
_TUNERS = ("Autotuner", "Heuristics")
_SIZES = ("xnumel", "ynumel", "znumel")
_REDUCED = ("r0_numel", "r1_numel")
_TEMPLATE = "triton_tem_"
_ATTENTION = ("arg_Q", "arg_K", "arg_V")  # of flex_attention's templates
_NUMBER = re.compile(r"_\d+$")  # inductor's own, of the kernels of a graph


def call_of(kernel: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> OperatorCall | None:
    """Returns the call that a launch is; None: it launches nothing itself."""
    if type(kernel).__name__ in _TUNERS or kwargs.get("warmup"):
        return None
    record = getattr(kernel, "inductor_meta", None)
    function = kernel.fn if record is not None else kernel
    names = list(function.arg_names)
    given = dict(zip(names, args, strict=False)) | dict(kwargs)
    tensors = {name: one for name, one in given.items() if isinstance(one, torch.Tensor)}
    if record is None or getattr(kernel, "custom_kernel", False):
        return _by_hand(function.__name__, tensors)
    return _fused(kernel, function.__name__, given, tensors)


def _by_hand(name: str, tensors: Mapping[str, torch.Tensor]) -> OperatorCall:
    """Returns the call of a user's kernel, of which only the tensors are known."""
    found = tuple(tensors.values())
    return OperatorCall(
        name=f"{BY_HAND}::{name}",
        inputs=tuple(shapes_of(found)),
        outputs=(),
        flops=None,
        flop_source=FlopSource.UNKNOWN,
        read_bytes=sum(map(occupied_bytes, found)),
        written_bytes=0,
        devices=_devices(found),
        launches=1,
        loop=LoopFacts(),
    )


def _fused(
    kernel: Any, name: str, given: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]
) -> OperatorCall:
    """Returns the call of a kernel that inductor made.

    A kernel moves all of a tensor, but not more elements than its loops have: of a table only the
    selected part.
    """
    if name.startswith(_TEMPLATE):
        return _template(name, tensors)
    record = kernel.inductor_meta
    loop = _loop(kernel, given)
    read = {name: one for name, one in tensors.items() if name.startswith("in_")}
    written = {name: one for name, one in tensors.items() if "out_ptr" in name}
    loads = record.get("num_load") or len(read)
    stores = record.get("num_store") or len(written)
    return OperatorCall(
        name=f"{COMPILED}::{_NUMBER.sub('', name).removeprefix('triton_')}",
        inputs=tuple(shapes_of(tuple(read.values()))),
        outputs=tuple(shapes_of(tuple(written.values()))),
        flops=None,
        flop_source=FlopSource.ELEMENTWISE,
        read_bytes=_moved_bytes(read.values(), loop.elements, loads),
        written_bytes=_moved_bytes(written.values(), loop.elements, stores),
        devices=_devices(tensors.values()),
        launches=1,
        loop=loop,
    )


def _template(name: str, tensors: Mapping[str, torch.Tensor]) -> OperatorCall:
    """Returns the call of a kernel that inductor fills in: flex_attention, or a product of its own.

    Attention is counted as if every query saw every key: which blocks a mask leaves out is not
    known. Of a product by a template only the tensors are known.
    """
    query, key, value = (tensors.get(name) for name in _ATTENTION)
    found = _by_hand(name, tensors)
    words = f"{COMPILED}::{_NUMBER.sub('', name).removeprefix('triton_')}"
    if query is None or key is None or value is None:
        return replace(found, name=words)
    batch, heads, queries, width = query.shape
    facts = AttentionFacts(
        backend="flex",
        batch=batch,
        query_heads=heads,
        key_heads=key.shape[1],
        queries=queries,
        keys=key.shape[2],
        head_width=width,
        value_width=value.shape[3],
        is_causal=False,
    )
    # Two products forward; backward three of the heads' width and two of the values'.
    wide = 3 * width + 2 * facts.value_width if "backward" in name else width + facts.value_width
    return replace(
        found,
        name=words,
        inputs=tuple(shapes_of((query, key, value))),
        flops=2 * batch * heads * queries * facts.keys * wide,
        flop_source=FlopSource.FORMULA,
        attention=facts,
        loop=None,
    )


def _moved_bytes(tensors: Iterable[torch.Tensor], elements: int, accesses: int) -> int:
    """Returns the bytes of the tensors; of each at most those of all accesses that may be its."""
    found = list(tensors)
    most = elements * max(1, accesses - len(found) + 1)
    return sum(
        occupied_bytes(one) if not most else min(occupied_bytes(one), most * one.element_size())
        for one in found
    )


def _loop(kernel: Any, given: Mapping[str, Any]) -> LoopFacts:
    """Returns the sizes of the loops; hints are powers of two, for sizes that are not passed."""
    hints = dict(kernel.size_hints or {})
    sizes = {
        name: _size(given.get(name), hints.get(name.removesuffix("numel")))
        for name in (*_SIZES, *_REDUCED)
    }
    outer = prod(size for name, size in sizes.items() if name in _SIZES and size)
    reduced = prod(size for name, size in sizes.items() if name in _REDUCED and size)
    return LoopFacts(elements=outer * reduced if any(sizes.values()) else 0, reduced=reduced)


def _size(given: Any, hint: Any) -> int:
    found = given if isinstance(given, int) else hint
    return found if isinstance(found, int) else 0


def _devices(tensors: Iterable[torch.Tensor]) -> frozenset[str]:
    return frozenset(one.device.type for one in tensors)
