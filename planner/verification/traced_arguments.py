"""The arguments of a call as the profiler wrote them, by their places.

In: TracedOperator. Out: Arguments. Convention: an argument that is not as a rule needs it raises
NoRuleError. The dtype of a list of tensors is the one that its kernels have in their names.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

from planner.timing.kernels import tensor_bytes
from planner.verification.profiler_trace import TracedOperator
from planner.wire.trace import TensorShape

# C++ names of the types of elements, as the profiler writes them, with those of TensorShape.
_DTYPES = {
    "float": "float32", "double": "float64", "c10::Half": "float16", "c10::BFloat16": "bfloat16",
    "long int": "int64", "long": "int64", "int": "int32", "short int": "int16", "short": "int16",
    "signed char": "int8", "unsigned char": "uint8", "bool": "bool",
    "c10::complex<float>": "complex64", "c10::complex<double>": "complex128",
}  # fmt: skip
_LIST = "TensorList"
_NUMBERS = tuple(TensorShape(shape=(), dtype=dtype) for dtype in ("float64", "int64"))
# Numbers and lists of numbers, and what is not given.
_NO_TENSORS = frozenset(
    ("", "Scalar", "ScalarList", "Int", "Bool", "Double", "GenericList", "Device", "None")
)


class NoRuleError(Exception):
    """An argument is not there, or not as a rule needs it."""


@dataclass(frozen=True, slots=True)
class TracedTensor:
    """An argument; `bytes` are those that its elements take, each once."""

    shape: TensorShape
    bytes: int


class Arguments:
    """The arguments of a call by their places."""

    def __init__(self, operator: TracedOperator) -> None:
        self._operator = operator
        self._tensors: dict[int, TracedTensor] = {}
        self._lists: dict[int, tuple[TracedTensor, ...]] = {}
        for place, dims in enumerate(operator.dims):
            kind = operator.dtypes[place] if place < len(operator.dtypes) else ""
            if kind in _NO_TENSORS:
                if dims:
                    raise NoRuleError
                continue
            if kind == _LIST and not dims:
                continue
            if kind == _LIST:
                self._lists[place] = _listed(dims, operator.list_dtype)
                continue
            if kind not in _DTYPES or not _are_sizes(dims):
                raise NoRuleError
            strides = operator.strides[place] if place < len(operator.strides) else None
            self._tensors[place] = _tensor(dims, _DTYPES[kind], strides)

    @property
    def all(self) -> list[TracedTensor]:
        """Returns the tensors in order, alike ones of a list as one; not numbers."""
        return [one for one in self.with_numbers if one.shape not in _NUMBERS]

    @property
    def with_numbers(self) -> list[TracedTensor]:
        """Returns tensors and numbers: these are tensors without dimensions to the profiler."""
        both = {place: (one,) for place, one in self._tensors.items()} | self._lists
        return [one for place in sorted(both) for one in both[place]]

    @property
    def count(self) -> int:
        """Returns the number of arguments, of all kinds."""
        return len(self._operator.dims)

    def is_tensor(self, place: int) -> bool:
        """Returns whether an argument is a tensor."""
        return place in self._tensors

    def tensor(self, place: int) -> TensorShape:
        """Returns a tensor."""
        if place not in self._tensors:
            raise NoRuleError
        return self._tensors[place].shape

    def is_list(self, place: int) -> bool:
        """Returns whether an argument is a list of tensors."""
        return place in self._lists

    def tensors(self, place: int) -> tuple[TensorShape, ...]:
        """Returns a list of tensors, alike ones as one."""
        if place not in self._lists:
            raise NoRuleError
        return tuple(one.shape for one in self._lists[place])

    def given(self, place: int) -> str:
        """Returns the text of a number or a list, "" where it is not given."""
        if place >= len(self._operator.concrete):
            raise NoRuleError
        return self._operator.concrete[place]

    def flag(self, place: int) -> bool:
        """Returns a bool."""
        text = self.given(place)
        if text not in ("True", "False"):
            raise NoRuleError
        return text == "True"

    def numbers(self, place: int) -> list[int]:
        """Returns a list of whole numbers."""
        text = self.given(place).strip()
        if not (text.startswith("[") and text.endswith("]")):
            raise NoRuleError
        words = [word.strip() for word in text[1:-1].split(",") if word.strip()]
        flags = {"True": 1, "False": 0}
        try:
            return [flags[word] if word in flags else int(word) for word in words]
        except ValueError as error:
            raise NoRuleError from error

    def number(self, place: int) -> float:
        """Returns a number."""
        try:
            return float(self.given(place))
        except ValueError as error:
            raise NoRuleError from error


def _listed(dims: Any, kind: str) -> tuple[TracedTensor, ...]:
    """Returns the tensors of a list. In files of torch 1 the sizes are missing."""
    if kind not in _DTYPES or not dims or not all(isinstance(one, tuple) for one in dims):
        raise NoRuleError
    if not all(_are_sizes(one) for one in dims):
        raise NoRuleError
    shapes = [
        TensorShape(shape=one, dtype=_DTYPES[kind], number=number)
        for one, number in Counter(dims).items()
    ]
    return tuple(TracedTensor(shape, tensor_bytes(shape)) for shape in shapes)


def _are_sizes(dims: Any) -> bool:
    return all(isinstance(one, int) and one >= 0 for one in dims)


def _tensor(dims: tuple[int, ...], dtype: str, strides: Any) -> TracedTensor:
    shape = TensorShape(shape=dims, dtype=dtype)
    whole = tensor_bytes(shape)
    if not isinstance(strides, tuple) or len(strides) != len(dims) or not _are_sizes(strides):
        return TracedTensor(shape, whole)
    shape = replace(shape, channels_last=_is_channels_last(dims, strides))
    elements = prod(dims)
    if not elements:
        return TracedTensor(shape, 0)
    occupied = min(elements, 1 + sum((n - 1) * step for n, step in zip(dims, strides, strict=True)))
    return TracedTensor(shape, whole * occupied // elements)


def _is_channels_last(dims: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    """Returns whether it is channels_last only; False if also contiguous, as with one channel."""
    if len(dims) not in (4, 5):
        return False
    return not _steps(dims, strides, range(len(dims))) and _steps(
        dims, strides, (0, *range(2, len(dims)), 1)
    )


def _steps(dims: tuple[int, ...], strides: tuple[int, ...], order: Sequence[int]) -> bool:
    """Returns whether the elements are next to each other in this order of dimensions."""
    wanted = 1
    for place in reversed(order):
        if dims[place] != 1:
            if strides[place] != wanted:
                return False
            wanted *= dims[place]
    return True
