"""Shards that FSDP2 keeps in the RAM of the host (CPUOffloadPolicy), without bytes of this machine.

In: a model that fully_shard has shared. Out: the same model, whose shards on the host are sizes
alone, and the counts of what is there and of the copies. Convention: FSDP's own code runs; what it
requests of the card is what it would request with real shards. An optimizer computes shapes alone.
"""

from __future__ import annotations

import functools
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map_only

from planner.errors import UsageError
from planner.wire.offload import OffloadedShards
from planner.wire.trace import Phase

_GROUPS = "torch.distributed.fsdp._fully_shard._fsdp_param_group"
_MARK = "_planner_host_shards"
_HOST, _SHAPES = torch.device("cpu"), torch.device("meta")
_ASKED = "FSDP keeps parameters and gradients on the host (cpu_offload, CPUOffloadPolicy)"
_READS = ("aten::_local_scalar_dense", "aten::equal", "aten::is_nonzero")


class CopyLog:
    """The copies of shards between card and host."""

    def __init__(self) -> None:
        self.count_from_here(lambda: None)

    def count_from_here(self, phase: Callable[[], Phase | None]) -> None:
        """Forgets the copies so far; `phase` says in which one a later copy is."""
        self._phase = phase
        self._to_card_bytes: Counter[bool] = Counter()
        self._to_host_sizes: list[int] = []

    def to_card(self, size_bytes: int) -> None:
        """Notes a copy to the card."""
        self._to_card_bytes[self._phase() is Phase.BACKWARD] += size_bytes

    def to_host(self, size_bytes: int) -> None:
        """Notes a copy to the host."""
        self._to_host_sizes.append(size_bytes)

    def counts(self, model: nn.Module, states: Iterable[Any], update_bytes: int) -> OffloadedShards:
        """Returns what is on the host, and the copies that were noted.

        `states` are the tensors of the optimizer, `update_bytes` those that its step moves there.
        """
        units: Counter[int] = Counter()
        sizes, pinned = [], True
        for group, one in parameters_of(model):
            shard = one._sharded_param_data
            sizes.append(shard.numel() * shard.element_size())
            units[id(group)] += sizes[-1]
            pinned = pinned and one.pin_memory
        return OffloadedShards(
            parameter_sizes_bytes=tuple(sizes),
            gradient_sizes_bytes=tuple(self._to_host_sizes),
            state_bytes=sum(map(_bytes_here, states)),
            update_bytes=update_bytes,
            to_card_forward_bytes=self._to_card_bytes[False],
            to_card_backward_bytes=self._to_card_bytes[True],
            largest_unit_bytes=max(units.values(), default=0),
            pinned=pinned,
        )


def _bytes_here(tensor: Any) -> int:
    local = getattr(tensor, "_local_tensor", tensor)
    return int(local.numel() * local.element_size()) if local.device.type == "cpu" else 0


LOG = CopyLog()  # of this process, which plays one rank


class HostTensor(torch.Tensor):
    """A tensor in host memory: its size, and whether it is pinned. It has no bytes."""

    _shape_alone: torch.Tensor
    pinned: bool
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment] # torch's way

    @staticmethod
    def __new__(cls, like: torch.Tensor, pinned: bool = False) -> HostTensor:
        """Makes a tensor of the shape, strides and dtype of a meta tensor."""
        made: Any = torch.Tensor._make_wrapper_subclass(
            cls,
            like.size(),
            strides=like.stride(),
            storage_offset=like.storage_offset(),
            dtype=like.dtype,
            device=_HOST,
            requires_grad=False,
        )
        made._shape_alone, made.pinned = like, pinned
        return made  # type: ignore[no-any-return] # torch's function is untyped

    def __repr__(self, **_: Any) -> str:  # type: ignore[override] # torch's has tensor_contents
        return f"HostTensor({tuple(self.shape)}, {self.dtype})"

    def to(self, *args: Any, **kwargs: Any) -> Any:
        """Copies to the card by taking memory there; else as torch does."""
        device, dtype, *_ = torch._C._nn._parse_to(*args, **kwargs)
        if device is not None and device.type == "cuda":
            return _on_card(self, device, dtype)
        return super().to(*args, **kwargs)

    @classmethod
    def __torch_dispatch__(  # type: ignore[override] # as torch calls it
        cls, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Runs an operator for its shapes.

        Raises:
            UsageError: the operator needs values.
        """
        kwargs = dict(kwargs or {})
        name: str = func._schema.name
        first: Any = args[0] if args else None
        if name == "aten::is_pinned":
            return first.pinned
        if name == "aten::_pin_memory":
            return HostTensor(first._shape_alone, pinned=True)
        device = kwargs.get("device")
        if device is not None and torch.device(device).type == "cuda":
            return _on_card(first, device, kwargs.get("dtype"))
        if device is not None:
            kwargs["device"] = _SHAPES
        kwargs.pop("pin_memory", None)
        if name in _READS:
            raise UsageError(_needs_values(f"{name.rpartition(':')[2]} reads one"))
        try:
            out = func(*_shapes(args), **_shapes(kwargs))
        except (NotImplementedError, RuntimeError) as error:
            said = str(error).partition(chr(10))[0]
            raise UsageError(_needs_values(f"{name} cannot be run without ({said})")) from error
        return _of_host(func, args, kwargs, out)


def _needs_values(what: str) -> str:
    return (
        f"{_ASKED}, where their values are not computed, and {what}: take another optimizer, like "
        "adamw, or leave cpu_offload out"
    )


def _shapes(tree: Any) -> Any:
    return tree_map_only(torch.Tensor, _shape_of, tree)


def _shape_of(tensor: torch.Tensor) -> torch.Tensor:
    if isinstance(tensor, HostTensor):
        return tensor._shape_alone
    return tensor.to(_SHAPES) if tensor.device.type == "cpu" else tensor


def _of_host(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> Any:
    """Returns the results as tensors of the host; those that are written in place stay the same."""
    written = {
        name: args[place] if place < len(args) else kwargs.get(name)
        for place, (name, is_written) in enumerate(_arguments(func))
        if is_written
    }
    if written:
        results = [written[name] for name, is_written in _arguments(func) if is_written]
        number = len(func._schema.returns)
        return None if not number else results[0] if number == 1 else tuple(results)
    is_view = any(value.alias_info is not None for value in func._schema.returns)
    pinned = is_view and isinstance(args[0], HostTensor) and args[0].pinned
    return tree_map_only(torch.Tensor, lambda one: HostTensor(one, pinned=pinned), out)


@functools.cache
def _arguments(func: Any) -> tuple[tuple[str, bool], ...]:
    """Returns the name of each argument, and whether the operator writes it."""
    return tuple(
        (one.name, one.alias_info is not None and one.alias_info.is_write)
        for one in func._schema.arguments
    )


def _on_card(tensor: HostTensor, device: Any, dtype: torch.dtype | None) -> torch.Tensor:
    """Takes the memory of a copy on the card, and notes the copy."""
    LOG.to_card(_bytes_here(tensor))
    return torch.empty_like(tensor._shape_alone, dtype=dtype or tensor.dtype, device=device)


class _GradientsToHost(TorchFunctionMode):
    """Answers the copies of gradients to the host by tensors without bytes."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is not torch.Tensor.to or not args[0].is_cuda:
            return func(*args, **kwargs)
        device, dtype, non_blocking, _ = torch._C._nn._parse_to(*args[1:], **kwargs)
        if device is None or device.type != "cpu":
            return func(*args, **kwargs)
        made = HostTensor(
            torch.empty_like(args[0], dtype=dtype, device=_SHAPES), pinned=bool(non_blocking)
        )
        LOG.to_host(_bytes_here(made))
        return made


def parameters_of(model: nn.Module) -> Iterator[tuple[Any, Any]]:
    """Yields each group of parameters that FSDP2 gathers together, and each shard on the host."""
    if _GROUPS not in sys.modules:
        return
    seen: set[int] = set()
    for module in model.modules():
        state_of = getattr(module, "_get_fsdp_state", None)
        state = None if state_of is None else state_of()
        groups = getattr(state, "_fsdp_param_groups", None)
        if groups is None:  # before torch 2.12
            only = getattr(state, "_fsdp_param_group", None)
            groups = () if only is None else (only,)
        for group in groups:
            if id(group) in seen:
                continue
            seen.add(id(group))
            yield from ((group, one) for one in group.fsdp_params if one.offload_to_cpu)


def on_host(model: nn.Module) -> set[int]:
    """Returns the ids of the parameters whose shards stay on the host, and prepares FSDP for it."""
    found = {id(one.sharded_param) for _, one in parameters_of(model)}
    if found:
        _wrap_reduction()
    return found


def placed(parameter: Any) -> Any:
    """Returns a DTensor whose shard is on the host."""
    from torch.distributed.tensor import DTensor

    local = parameter.to_local()
    shape = torch.empty_like(local, device=_SHAPES)
    made: Any = DTensor
    return made(HostTensor(shape), parameter._spec, requires_grad=False)


def _wrap_reduction() -> None:
    groups = sys.modules[_GROUPS]
    reduction = getattr(groups, "foreach_reduce", None)
    if reduction is None:
        raise UsageError(
            f"{_ASKED}, and torch {torch.__version__} copies gradients there in a way that is not "
            "known: leave cpu_offload out"
        )
    if hasattr(reduction, _MARK):
        return

    @functools.wraps(reduction)
    def wrapped(fsdp_params: Iterable[Any], *args: Any, **kwargs: Any) -> Any:
        if not any(one.offload_to_cpu for one in fsdp_params):
            return reduction(fsdp_params, *args, **kwargs)
        with _GradientsToHost():
            return reduction(fsdp_params, *args, **kwargs)

    setattr(wrapped, _MARK, True)
    groups.foreach_reduce = wrapped  # type: ignore[attr-defined] # a function of a module
