"""Reads the inputs of a model as a caller gives them: texts, shapes, example tensors, nested.

In: "3x224x224", (3, 224, 224), a tensor, or a tuple, list or dict of these. Out: InputSpecs, and
the batch of the examples. Convention: a shape has no batch; in an example tensor the batch is the
first dimension. Only shape and dtype of an example are used; torch is not imported for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any, Protocol, TypeAlias, TypeVar

from planner.config.step import DTYPES, InputSpec, parse_input
from planner.errors import UsageError


class ExampleTensor(Protocol):
    """A tensor of torch, an array of numpy, or any other object with a shape and a dtype."""

    @property
    def shape(self) -> Sequence[int]:
        """Its sizes, the batch first."""

    @property
    def dtype(self) -> Any:
        """Its dtype, named as torch or numpy names it."""


Inputs: TypeAlias = (
    "str | InputSpec | ExampleTensor | tuple[Sequence[int], object] | Sequence[int]"
    " | Sequence[Inputs] | Mapping[str, Inputs]"
)

_T = TypeVar("_T")
_KEY, _ITEM, _PART = "key", "item", "part"  # entries of a mapping, of a list, of a tuple
_Step = tuple[str, "str | int"]
_Path = tuple[_Step, ...]
_STEPS = re.compile(r"(?:^|\.)([A-Za-z_]\w*)|\[(\d+)\]|\((\d+)\)")
_OTHERWISE = "write a function build_batch(batch_size) for it, in the model file or in the call"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Leaf:
    """One input: `spec` without its place, and the batch of an example (None: no example)."""

    path: _Path
    spec: InputSpec
    batch_size: int | None = None


def read_inputs(value: object) -> tuple[tuple[InputSpec, ...], int | None]:
    """Reads the inputs in `value`, and the batch of the example tensors among them.

    A tuple or list goes to the model by position and a dict by keyword, as a batch of build_batch
    does. The batch is None if there is no example.

    Raises:
        UsageError: a value that is no input, or examples whose first dimensions differ.
    """
    if isinstance(value, (tuple, list)) and not value:
        return (), None
    leaves = tuple(_leaves(value, ()))
    is_nested = any(len(leaf.path) > 1 for leaf in leaves)
    return tuple(_named(leaf, is_nested) for leaf in leaves), _batch_of(leaves, value)


def is_nested_name(name: str | None) -> bool:
    """Returns whether a name is a place in a nested batch, like `past[0]` or `(1).ids`."""
    return name is not None and any(sign in name for sign in ".[(")


def arranged(leaves: Iterable[tuple[str, _T]]) -> Any:
    """Builds the nested batch of `leaves`, each with its place as `read_inputs` names it."""
    return _arranged([(_steps(name), leaf) for name, leaf in leaves])


def _arranged(items: Sequence[tuple[_Path, Any]]) -> Any:
    if not items[0][0]:
        return items[0][1]
    groups: dict[_Step, list[tuple[_Path, Any]]] = {}
    for path, leaf in items:
        groups.setdefault(path[0], []).append((path[1:], leaf))
    parts = {key: _arranged(group) for (_, key), group in groups.items()}
    kind = items[0][0][0][0]
    if kind == _KEY:
        return parts
    return list(parts.values()) if kind == _ITEM else tuple(parts.values())


def _steps(name: str) -> _Path:
    return tuple(
        (_KEY, match[1]) if match[1] else (_ITEM if match[2] else _PART, int(match[2] or match[3]))
        for match in _STEPS.finditer(name)
    )


def _leaves(value: Any, path: _Path) -> Iterator[_Leaf]:
    if isinstance(value, str):
        yield _Leaf(path=path, spec=parse_input(value))
    elif isinstance(value, InputSpec):
        yield _Leaf(path=path, spec=value)
    elif isinstance(value, Mapping):
        yield from _of_mapping(value, path)
    elif isinstance(value, (tuple, list)):
        yield from _of_sequence(value, path)
    elif not isinstance(value, type) and _has(value, "shape") and _has(value, "dtype"):
        yield _of_example(value, path)
    else:
        raise UsageError(
            f"{_shown(path)} is {_brief(value)}, which is no input: give an example tensor, a "
            'shape without the batch, like (3, 224, 224) or "3x224x224", or a tuple, list or dict '
            f"of these; for anything else {_OTHERWISE}"
        )


def _has(value: object, name: str) -> bool:
    try:
        return hasattr(value, name)
    except Exception:  # a property that raises, like the shape of a nested tensor
        return True


def _of_mapping(value: Mapping[Any, Any], path: _Path) -> Iterator[_Leaf]:
    if not value:
        raise UsageError(f"{_shown(path)} is empty: it says nothing of any input")
    for key, one in value.items():
        if not isinstance(key, str) or not re.fullmatch(r"[A-Za-z_]\w*", key, re.ASCII):
            raise UsageError(
                f"{_shown(path)} has the key {key!r}, which cannot be the name of an input; "
                f"{_OTHERWISE}"
            )
        yield from _leaves(one, (*path, (_KEY, key)))


def _of_sequence(value: tuple[Any, ...] | list[Any], path: _Path) -> Iterator[_Leaf]:
    if not value:
        raise UsageError(
            f"{_shown(path)} is empty: it says nothing of any input; one number for each sample is "
            '"scalar:int64" or ((), "int64")'
        )
    if _is_shape(value):
        yield _Leaf(path=path, spec=InputSpec(shape=_checked_shape(value, path)))
    elif (pair := _shape_and_dtype(value)) is not None:
        shape, dtype = pair
        yield _Leaf(path=path, spec=InputSpec(shape=_checked_shape(shape, path), dtype=dtype))
    elif type(value) not in (tuple, list):
        raise UsageError(
            f"{_shown(path)} is a {type(value).__name__}, whose class cannot be kept; {_OTHERWISE}"
        )
    else:
        kind = _PART if isinstance(value, tuple) or not path else _ITEM
        for index, one in enumerate(value):
            yield from _leaves(one, (*path, (kind, index)))


def _of_example(value: Any, path: _Path) -> _Leaf:
    """Reads shape and dtype of a tensor; refuses a tensor with other properties that matter."""
    layout = str(getattr(value, "layout", "torch.strided"))
    if layout != "torch.strided" or getattr(value, "is_nested", False):
        raise UsageError(
            f"{_shown(path)} is a tensor of layout {layout}, of which shape and dtype do not say "
            f"enough; {_OTHERWISE}"
        )
    if getattr(value, "requires_grad", False) is True:
        raise UsageError(
            f"{_shown(path)} requires a gradient, which an input that is named in the call does "
            f"not: give .detach() of it where that is not meant, else {_OTHERWISE}"
        )
    try:
        shape = tuple(int(size) for size in value.shape)
    except Exception as error:  # the class may be unknown to planner
        raise UsageError(
            f"{_shown(path)} is a {type(value).__name__} whose shape cannot be read "
            f"({type(error).__name__}: {error}); {_OTHERWISE}"
        ) from error
    if _is_permuted(value, shape):
        raise UsageError(
            f"{_shown(path)} is a tensor whose dimensions are permuted in memory, as in "
            "channels_last, and an input that is named in the call has them in order: give "
            ".contiguous() of it (and channels_last=True for images in channels_last), else "
            f"{_OTHERWISE}"
        )
    dtype = _dtype_name(value.dtype)
    if dtype is None:
        raise UsageError(
            f"{_shown(path)} has the dtype {value.dtype}, and an input that is named in the call "
            f"is one of {', '.join(DTYPES)}; for others {_OTHERWISE}"
        )
    if not shape:
        raise UsageError(
            f"{_shown(path)} is a tensor without dimensions, and the first dimension of an example "
            f"is its batch; {_OTHERWISE}"
        )
    checked = _checked_shape(shape, path)
    return _Leaf(path=path, spec=InputSpec(shape=checked[1:], dtype=dtype), batch_size=checked[0])


def _is_permuted(value: Any, shape: tuple[int, ...]) -> bool:
    """Returns whether a tensor is dense with permuted dimensions: `.to` keeps that order."""
    stride = getattr(value, "stride", None)
    if not callable(stride):
        return False
    found = [(step, size) for step, size in zip(stride(), shape, strict=True) if size != 1]
    falling = sorted(found, reverse=True)
    reach = 1
    for step, size in reversed(falling):
        if step != reach:
            return False
        reach *= size
    return found != falling


def _named(leaf: _Leaf, is_nested: bool) -> InputSpec:
    """Names the input by its place: None (by position), a keyword, or a place in a nested batch."""
    own = leaf.spec.name
    by_key = any(kind == _KEY for kind, _ in leaf.path)
    if own is not None and (by_key or is_nested):
        raise UsageError(
            f"{_shown(leaf.path)} has the name {own!r} of its own, and a place in a dict or in a "
            "nested batch: leave the name out"
        )
    if not is_nested and not by_key:
        return leaf.spec
    return replace(leaf.spec, name=_place(leaf.path))


def _batch_of(leaves: Sequence[_Leaf], value: object) -> int | None:
    examples = [leaf for leaf in leaves if leaf.batch_size is not None]
    if not examples:
        return None
    first = examples[0]
    for other in examples:
        if other.batch_size != first.batch_size:
            raise UsageError(
                f"{_example_words(first)}, and {_example_words(other)}: the first dimension of an "
                "example tensor is its batch, and these differ. Give tensors of one batch; for one "
                f"that has none in front {_OTHERWISE}"
            )
    return first.batch_size


def _example_words(leaf: _Leaf) -> str:
    return f"{_shown(leaf.path)} has shape {(leaf.batch_size, *leaf.spec.shape)}"


def _is_shape(value: Sequence[Any]) -> bool:
    return all(isinstance(size, Integral) and not isinstance(size, bool) for size in value)


def _shape_and_dtype(value: Sequence[Any]) -> tuple[Sequence[Any], str] | None:
    """Returns the two parts of a value like ((1024,), "int64"); None for any other value."""
    if type(value) is not tuple or len(value) != 2 or not isinstance(value[0], (tuple, list)):
        return None
    dtype = _dtype_name(value[1])
    return (value[0], dtype) if dtype is not None and _is_shape(value[0]) else None


def _checked_shape(shape: Sequence[Any], path: _Path) -> tuple[int, ...]:
    sizes = tuple(int(size) for size in shape)
    if any(size < 1 for size in sizes):
        raise UsageError(
            f"{_shown(path)} has the shape {sizes}, and each dimension must be at least 1"
        )
    return sizes


def _dtype_name(dtype: Any) -> str | None:
    """Returns "float32" for the text, torch's or numpy's dtype of that name; None if unknown."""
    if isinstance(dtype, type):
        text = dtype.__name__
    elif hasattr(dtype, "dtype"):  # an example, whose text may be long
        return None
    else:
        text = dtype if isinstance(dtype, str) else getattr(dtype, "name", None) or str(dtype)
    name = str(text).removeprefix("torch.")
    return name if name in DTYPES else None


def _place(path: _Path) -> str:
    """Writes a path as a name: `ids`, `past[0]` in a list, `past(0)` in a tuple, `(1).ids`."""
    signs = {_KEY: ".{}", _ITEM: "[{}]", _PART: "({})"}
    return "".join(signs[kind].format(key) for kind, key in path).removeprefix(".")


def _shown(path: _Path) -> str:
    """Writes a path as the caller would write it in Python."""
    return "inputs" + "".join(f"[{key!r}]" for _, key in path)


def _brief(value: object) -> str:
    if value is None or isinstance(value, (bool, int, float)):
        return repr(value)
    return f"a {type(value).__name__}"
