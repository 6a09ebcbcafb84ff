"""A batch on the host, from build_batch, the data set or the inputs named in the call.

In: a function without arguments, InputSpecs, or a ModelSource with a data set. Out: tensors.
Convention: integers and bools keep their values; a large float tensor has no values and is on
meta, where it costs no host memory.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import chain, islice, repeat
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils.data import default_collate

from planner.config.inputs import arranged, is_nested_name
from planner.config.step import InputSpec, StepConfig
from planner.errors import TargetError, UsageError
from planner.worker.drive.batch_objects import tensors_of_batch
from planner.worker.model.draws import LIKE, DrawNothing
from planner.worker.model.tensors import is_float
from planner.worker.target.frames import first_line
from planner.worker.target.source import ModelSource

# A float tensor of more bytes has no values. The second limit is for a build_batch that computes
# something small (a mask, a choice) from tensors that the first limit leaves without values.
_FLOAT_LIMITS_BYTES = (64 << 10, 32 << 20)
_INTEGER_LIMIT_BYTES = 1 << 30  # beyond it integers have none either: a host has more than one run

_SIZED = {torch.empty, torch.zeros, torch.ones, torch.rand, torch.randn}
_NEW = {
    torch.Tensor.new_empty, torch.Tensor.new_zeros, torch.Tensor.new_ones, torch.Tensor.new_full,
}  # fmt: skip


def built(build: Callable[[], Any]) -> tuple[Any, tuple[str, ...]]:
    """Returns the batch of build_batch, and notes on how it was run.

    Raises:
        Exception: whatever build_batch raises on the CPU.
    """
    reason = ""
    for limit_bytes in _FLOAT_LIMITS_BYTES:
        mode = _LargeWithoutValues(limit_bytes)
        try:
            with mode, DrawNothing():
                template = build()
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            reason = f"it does not run without values ({first_line(error)})"
            continue
        lost = _lost_integers(template)
        if not lost or mode.dropped_integers:
            return template, _dropped(mode)
        reason = f"it makes {lost} from float values"
    note = (
        f"build_batch was run on the CPU, because {reason}; "
        "its time and host memory grow with the batch"
    )
    return build(), (note,)


def from_inputs(inputs: tuple[InputSpec, ...], batch_size: int, *, with_target: bool) -> Any:
    """Returns the inputs named in the call: floats without values, ones for a mask, else zeros.

    Zeros are valid indices of any table. `with_target` adds one tensor of zeros. Names that are
    places in a nested batch (planner.config.inputs) give that batch.

    Raises:
        UsageError: some have a name and some do not.
    """
    named = {spec.name: _input(spec, batch_size) for spec in inputs if spec.name is not None}
    if not named:
        tensors = tuple(_input(spec, batch_size) for spec in inputs)
        if with_target:
            tensors = (*tensors, torch.zeros(batch_size, dtype=torch.int64))
        return tensors[0] if len(tensors) == 1 else tensors
    if len(named) != len(inputs):
        raise UsageError(
            "give every input a name of its own (ids=1024:int64) or none of them: "
            "named inputs are passed by keyword, others by position"
        )
    return arranged(named.items()) if any(map(is_nested_name, named)) else named


def batch_from_dataset(source: ModelSource, config: StepConfig) -> tuple[Any, str]:
    """Returns the first items of the user's data set, collated, and a sentence on it.

    If the data set has fewer items than the batch, they are repeated.

    Raises:
        TargetError: there is no data set, or it has no items.
        Exception: whatever the user's data set or collate raises.
    """
    if source.build_dataset is None:
        raise TargetError(
            f"the batch was asked for from the data set (--batch-from-data), but {source.label} "
            "has none; write `def build_dataset():` that returns it"
        )
    dataset = source.build_dataset()
    items = list(islice(_items(dataset), config.batch_size))
    if not items:
        raise TargetError(
            f"the batch was asked for from the data set (--batch-from-data), but the "
            f"{type(dataset).__name__} that build_dataset of {source.label} returned has no items"
        )
    if len(items) < config.batch_size:
        items = list(islice(chain.from_iterable(repeat(items)), config.batch_size))
    collate, name = source.collate, "collate of the model file"
    if not callable(collate):
        collate, name = getattr(dataset, "collate_fn", None), "the data set's collate_fn"
    if not callable(collate):
        collate, name = default_collate, "torch's default_collate"
    return collate(items), f"batch: the first {config.batch_size} items of build_dataset, by {name}"


def _items(dataset: Any) -> Iterator[Any]:
    if hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__"):
        return (dataset[index] for index in range(len(dataset)))
    return iter(dataset)


def _input(spec: InputSpec, batch_size: int) -> torch.Tensor:
    shape, dtype = (batch_size, *spec.shape), getattr(torch, spec.dtype)
    size_bytes = torch.Size(shape).numel() * dtype.itemsize
    if dtype.is_floating_point or size_bytes > _INTEGER_LIMIT_BYTES:
        return torch.empty(shape, dtype=dtype, device="meta")
    is_mask = "mask" in re.split(r"[\W_]+", (spec.name or "").lower())
    return torch.ones(shape, dtype=dtype) if is_mask else torch.zeros(shape, dtype=dtype)


def _lost_integers(template: Any) -> str:
    """Returns the integer or bool tensors without values, as text; "" if all have values."""
    lost = [
        f"batch{path}"
        for path, tensor in tensors_of_batch(template)
        if tensor.device.type == "meta" and not is_float(tensor.dtype)
    ]
    return ", ".join(lost[:3])


def _dropped(mode: _LargeWithoutValues) -> tuple[str, ...]:
    if not mode.dropped_integers:
        return ()
    return (
        "build_batch makes tensors of more than 1 GiB of integers: they are taken as zeros "
        f"({mode.dropped_integers} of them)",
    )


class _LargeWithoutValues(TorchFunctionMode):
    """A mode in which factories of large float tensors make them on meta; all else is unchanged."""

    def __init__(self, limit_bytes: int) -> None:
        super().__init__()
        self._limit_bytes = limit_bytes
        self.dropped_integers = 0

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Makes a large tensor on meta; torch calls this for every function in the block."""
        kwargs = kwargs or {}
        if "out" in kwargs or not _on_cpu(func, args, kwargs):
            return func(*args, **kwargs)
        layout = _layout(func, args, kwargs)
        if layout is not None:
            size, dtype = layout
            size_bytes = torch.Size(size).numel() * dtype.itemsize
            has_fractions = is_float(dtype)
            if size_bytes > (self._limit_bytes if has_fractions else _INTEGER_LIMIT_BYTES):
                self.dropped_integers += not has_fractions
                made = torch.empty(size, dtype=dtype, device="meta")
                return made.requires_grad_() if kwargs.get("requires_grad") else made
        return func(*args, **kwargs)


def _on_cpu(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Returns whether a factory with these arguments makes a tensor on the CPU."""
    device = kwargs.get("device")
    if device is not None:
        return torch.device(device).type == "cpu"
    if func in LIKE or func in _NEW:
        return bool(args) and args[0].device.type == "cpu"
    return torch.get_default_device().type == "cpu"


def _layout(
    func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Any, torch.dtype] | None:
    """Returns size and dtype of a factory's tensor; None for other functions or unusual calls."""
    given: torch.dtype | None = kwargs.get("dtype")
    if func in LIKE:
        return tuple(args[0].shape), given or args[0].dtype
    if func in _NEW:
        return _sized(args[1:2] if func is torch.Tensor.new_full else args[1:], kwargs,
                      given or args[0].dtype)  # fmt: skip
    if func in _SIZED:
        return _sized(args, kwargs, given or torch.get_default_dtype())
    if func is torch.full:
        value = args[1] if len(args) > 1 else kwargs.get("fill_value")
        return _sized(args[:1], kwargs, given or _dtype_of(value))
    if func is torch.randint:
        sizes = [one for one in args if isinstance(one, (tuple, list))]
        return _sized(tuple(sizes[:1]), kwargs, given or torch.int64)
    if func is torch.normal and not any(isinstance(one, torch.Tensor) for one in args[:2]):
        return _sized(args[2:3], kwargs, given or torch.get_default_dtype())
    return None


def _sized(
    sizes: tuple[Any, ...], kwargs: dict[str, Any], dtype: torch.dtype
) -> tuple[Any, torch.dtype] | None:
    if not sizes and "size" in kwargs:
        sizes = (kwargs["size"],)
    if len(sizes) == 1 and isinstance(sizes[0], (tuple, list)):
        sizes = tuple(sizes[0])
    if not all(isinstance(one, int) for one in sizes):
        return None
    return sizes, dtype


def _dtype_of(value: Any) -> torch.dtype:
    if isinstance(value, bool):
        return torch.bool
    if isinstance(value, int):
        return torch.int64
    return torch.get_default_dtype()
