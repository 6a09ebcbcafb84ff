"""The bytes of one copy from the card to the host, from known values.

In: the operator that runs, the size and the address of the copy. Out: Answer. Convention: a copy
reads a known storage by its address, or torch makes it inside the operator; any other copy gives
zeros, and is reported as assumed.
"""

from __future__ import annotations

import ctypes
from collections import deque
from dataclasses import dataclass
from typing import Any

import torch

from planner.wire.value_reads import Decision
from planner.worker.model.tensors import is_float
from planner.worker.values import twins
from planner.worker.values.hidden_reads import MASK_DTYPES, MASKED, Expected, expected_reads


@dataclass(slots=True)
class Call:
    """The operator that runs now. `pending` are the reads inside it that have not happened yet.

    `at_most`: drawn numbers decide for the largest size.
    """

    name: str
    args: tuple[Any, ...]
    tensors: list[torch.Tensor]
    at_most: bool = False
    pending: deque[Expected] | None = None
    expected: bool = False  # whether the operator's reads were determined


@dataclass(slots=True)
class Answer:
    """The bytes of a read (trailing zeros may be missing), and whether they are assumed."""

    content: bytes
    assumed: bool
    decision: Decision
    number: int | None = None
    bounds: tuple[int, int] | None = None


def answer_of(call: Call | None, size_bytes: int, source: int) -> Answer:
    """Returns the answer to a copy of `size_bytes` from the address `source` while `call` runs."""
    if call is None:
        return unanswered()
    by_address = _stored(call.tensors, size_bytes, source)
    if by_address is not None:
        return by_address
    if not call.expected:
        call.expected = True
        found = expected_reads(call.name, call.args, twins.value_of, most=call.at_most)
        call.pending = None if found is None else deque(found)
    if call.pending is None:
        return _copied(call.tensors, size_bytes) or unanswered()
    if not call.pending:  # status words: 0 is success
        return Answer(content=b"", assumed=False, decision=Decision.NOTHING)
    return _inside(call, call.pending.popleft(), size_bytes)


def unanswered() -> Answer:
    """Returns zeros for an unknown read: marked as assumed, and as deciding a size."""
    return Answer(content=b"", assumed=True, decision=Decision.SIZE)


def _stored(tensors: list[torch.Tensor], size_bytes: int, source: int) -> Answer | None:
    """Returns the content of a known storage at that address."""
    for tensor in tensors:
        twin = twins.twin_of(tensor)
        if twin is None or twin.blank or twin.storage is None:
            continue
        storage = tensor.untyped_storage()
        begin = source - storage.data_ptr()
        if begin >= 0 and begin + size_bytes <= storage.nbytes():
            content = ctypes.string_at(twin.storage.data_ptr() + begin, size_bytes)
            return _of_dtype(content, tensor.dtype, twin.assumed)
    return None


def _copied(tensors: list[torch.Tensor], size_bytes: int) -> Answer | None:
    """Returns the content of a copy that torch first makes contiguous on the card."""
    for tensor in tensors:
        value = twins.value_of(tensor)
        if value is None or value.numel() * value.element_size() != size_bytes:
            continue
        whole = value.resolve_conj().resolve_neg().contiguous()
        content = ctypes.string_at(whole.data_ptr(), size_bytes)
        twin = twins.twin_of(tensor)
        return _of_dtype(content, tensor.dtype, assumed=twin is None or twin.is_drawn)
    return None


def _of_dtype(content: bytes, dtype: torch.dtype, assumed: bool) -> Answer:
    if is_float(dtype):
        return Answer(content=content, assumed=assumed, decision=Decision.NOTHING)
    decision = Decision.BRANCH if dtype is torch.bool else Decision.SIZE
    number = None
    if len(content) == dtype.itemsize and dtype is not torch.bool:
        number = int.from_bytes(content, "little", signed=dtype.is_signed)
    return Answer(content=content, assumed=assumed, decision=decision, number=number)


def _inside(call: Call, expected: Expected, size_bytes: int) -> Answer:
    deciding = call.tensors
    if call.name in MASKED:  # the selected values may be drawn: the mask decides
        deciding = [tensor for tensor in deciding if tensor.dtype in MASK_DTYPES]
    assumed = expected.assumed or any(
        (twin := twins.twin_of(t)) is not None and twin.is_drawn for t in deciding
    )
    number = expected.number
    if isinstance(number, float):
        kind = {4: torch.float32, 8: torch.float64, 2: torch.float16}.get(size_bytes)
        made = torch.tensor(number, dtype=kind or torch.float32)
        content = ctypes.string_at(made.data_ptr(), made.element_size())[:size_bytes]
        return Answer(content=content, assumed=assumed, decision=Decision.NOTHING)
    content = (number % (1 << 8 * size_bytes)).to_bytes(size_bytes, "little")
    if not expected.is_size:
        return Answer(content=content, assumed=assumed, decision=Decision.BRANCH)
    return Answer(
        content=content,
        assumed=assumed,
        decision=Decision.SIZE,
        number=number,
        bounds=expected.bounds,
    )
