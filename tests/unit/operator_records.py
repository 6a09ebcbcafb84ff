"""Operators made by hand, for the tests of what they take."""

from __future__ import annotations

from math import prod

from planner.wire.trace import FlopSource, OperatorRecord, Phase, TensorShape

ITEM_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}


def tensor(
    *shape: int, dtype: str = "float32", number: int = 1, channels_last: bool = False
) -> TensorShape:
    return TensorShape(shape=shape, dtype=dtype, number=number, channels_last=channels_last)


def size_bytes(*tensors: TensorShape) -> int:
    return sum(prod(item.shape) * item.number * ITEM_BYTES[item.dtype] for item in tensors)


def operator(
    name: str,
    inputs: tuple[TensorShape, ...],
    outputs: tuple[TensorShape, ...],
    *,
    flops: int | None = None,
    calls: int = 1,
    phase: Phase = Phase.FORWARD,
    is_known: bool = True,
) -> OperatorRecord:
    """Reads its inputs and writes its outputs, each once."""
    elementwise = FlopSource.ELEMENTWISE if is_known else FlopSource.UNKNOWN
    return OperatorRecord(
        name=f"aten::{name}" if "::" not in name else name,
        phase=phase,
        inputs=inputs,
        outputs=outputs,
        calls=calls,
        flops=flops,
        flop_source=elementwise if flops is None else FlopSource.FORMULA,
        read_bytes=size_bytes(*inputs),
        written_bytes=size_bytes(*outputs),
    )


def product(
    m: int, k: int, n: int, *, dtype: str = "float16", calls: int = 1, phase: Phase = Phase.FORWARD
) -> OperatorRecord:
    """One matrix product of (m, k) and (k, n)."""
    return operator(
        "mm",
        (tensor(m, k, dtype=dtype), tensor(k, n, dtype=dtype)),
        (tensor(m, n, dtype=dtype),),
        flops=2 * m * k * n,
        calls=calls,
        phase=phase,
    )


def relu(elements: int, *, calls: int = 1, phase: Phase = Phase.FORWARD) -> OperatorRecord:
    """Reads and writes 4 bytes for each element."""
    return operator("relu", (tensor(elements),), (tensor(elements),), calls=calls, phase=phase)
