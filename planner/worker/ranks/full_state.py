"""Gathers and deals out the whole state of a job from one rank, with PyTorch's own functions.

In: the model and the optimizers of a rank, which have made a step. Out: FullStateCounts.
Convention: what is copied to the host has no memory of its own there, so that this machine needs
less RAM than rank 0; nothing of the rank's state changes, because the card has no content.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import prod
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from planner.wire.full_state import FullStateCounts
from planner.worker.model.tensors import size_bytes, tensors_in
from planner.worker.ranks.dtensors import is_divided
from planner.worker.target.frames import first_line

_HOST = torch.device("cpu")


class _HostCopies(TorchDispatchMode):  # type: ignore[no-untyped-call] # torch's
    """Lets copies from the card to the host end in one storage, which nobody writes to."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # torch's
        self._storage = torch.empty(0, dtype=torch.uint8)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Runs an operator, unless it copies from the card to the host."""
        kwargs = kwargs or {}
        if func is torch.ops.aten._to_copy.default and args[0].is_cuda:
            device = kwargs.get("device")
            if device is not None and torch.device(device) == _HOST:
                return self.tensor(args[0].shape, kwargs.get("dtype") or args[0].dtype)
        if func is torch.ops.aten.copy_.default and args[0].device == _HOST and args[1].is_cuda:
            return args[0]
        return func(*args, **kwargs)

    def tensor(self, shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
        """Returns a tensor of the host; all of them share their bytes."""
        size = prod(shape) * dtype.itemsize
        if self._storage.numel() < size:
            self._storage = torch.empty(size, dtype=torch.uint8)
        return self._storage[:size].view(dtype).view(shape)

    def alike(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the same state in the RAM of the host, as it was read from a file."""
        return {
            name: self.tensor(one.shape, one.dtype) if isinstance(one, torch.Tensor) else one
            for name, one in state.items()
        }


def full_state(
    model: nn.Module, optimizers: Sequence[Any], built_bytes: int
) -> tuple[FullStateCounts | None, str]:
    """Returns what saving and loading the whole state take, and why a part of it is not known.

    `built_bytes` is what the model took on the card before it had an optimizer.
    """
    try:
        return _counted(model, optimizers, built_bytes), ""
    except Exception as error:  # a wrapper or an optimizer that PyTorch does not know
        problem = first_line(error)
    if not optimizers:
        return None, problem
    try:
        return _counted(model, (), built_bytes), problem
    except Exception as error:
        return None, first_line(error)


def _counted(model: nn.Module, optimizers: Sequence[Any], built_bytes: int) -> FullStateCounts:
    from torch.distributed.checkpoint.state_dict import (
        StateDictOptions,
        get_model_state_dict,
        get_state_dict,
        set_model_state_dict,
    )

    on_card = StateDictOptions(full_state_dict=True)
    to_host = StateDictOptions(full_state_dict=True, cpu_offload=True)
    broadcast = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True)
    has_parts = any(map(_is_divided, get_model_state_dict(model).values()))
    whole: dict[str, Any] = {}
    sizes_bytes: list[int] = []

    def gather(copies: _HostCopies) -> None:
        gathered = get_state_dict(model, optimizers, options=on_card)
        sizes_bytes.extend(map(_size_bytes, gathered))
        whole.update(copies.alike(gathered[0]))

    def load(_: _HostCopies, options: StateDictOptions) -> None:
        set_model_state_dict(model, dict(whole), options=options if has_parts else None)

    gathered_bytes = _taken(gather)
    model_bytes, optimizer_bytes = sizes_bytes
    return FullStateCounts(
        is_divided=has_parts,
        model_bytes=model_bytes,
        optimizer_bytes=optimizer_bytes if optimizers else None,
        built_bytes=built_bytes,
        saving_bytes=_taken(lambda _: get_state_dict(model, optimizers, options=to_host)),
        saving_on_card_bytes=_taken(lambda _: get_model_state_dict(model, options=on_card)),
        saving_all_on_card_bytes=gathered_bytes if optimizers else None,
        loading_bytes=_taken(partial(load, options=broadcast)),
        loading_each_bytes=_taken(partial(load, options=on_card)),
    )


def _is_divided(value: Any) -> bool:
    """Returns whether a value of the state is a part: a DTensor, or a ShardedTensor of FSDP1."""
    return is_divided(value) if isinstance(value, torch.Tensor) else hasattr(value, "local_shards")


def _size_bytes(state: Any) -> int:
    return sum(size_bytes(tensor) for _, tensor in tensors_in(state))


def _taken(function: Callable[[_HostCopies], Any]) -> int:
    """Returns the most bytes on the card while the function runs, beyond those before it."""
    gc.collect()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    logging.disable(logging.WARNING)  # torch's advice on this job's placements
    try:
        with _HostCopies() as copies:
            function(copies)
    finally:
        logging.disable(logging.NOTSET)
    return torch.cuda.max_memory_allocated() - before
