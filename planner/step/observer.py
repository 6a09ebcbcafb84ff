"""Watches operators as they are called: FLOPs, bytes moved and saved, by module.

In: what runs within the contexts. Out: sums by module path. Convention: FLOPs follow the formulas
of torch.utils.flop_counter (matrix products, convolutions, attention) and a few more, see _OWN; a
sum is that of the module itself, without what it holds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from math import prod
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from planner.step.module_path import ModulePath
from planner.step.traffic import is_view, moved_bytes

_ATEN: Any = torch.ops.aten


def _convolution_backward_flops(
    grad_output: Any, input: Any, weight: Any, *rest: Any, **_: Any
) -> int:
    """As many as the forward, for the gradient of the input and again for that of the weight.

    The formula of torch.utils.flop_counter leaves groups out of account: a depthwise convolution
    with 512 channels would cost 512 times as much in backward as in forward.
    """
    transposed, output_mask = rest[4], rest[7]
    positions = input if transposed else grad_output
    forward = 2 * positions.numel() * prod(weight.shape[1:])
    return int(forward * sum(output_mask[:2]))


def _cudnn_rnn_flops(input: Any, weight: Any, *_: Any, **__: Any) -> int:
    """Every matrix of every layer and direction multiplies each time step of each sample."""
    matrices = sum(tensor.numel() for tensor in weight if tensor.dim() == 2)
    return int(2 * prod(input.shape[:-1]) * matrices)


def _cudnn_rnn_backward_flops(input: Any, weight: Any, *_: Any, **__: Any) -> int:
    """As often again for the gradient of the input as for that of the weights."""
    return 2 * _cudnn_rnn_flops(input, weight)


def _grouped_matmul_flops(left: Any, right: Any, *_: Any, **__: Any) -> int:
    """Rows (T, K) that have one matrix of (E, K, N) each; or groups of (K, T) with (T, N)."""
    return int(2 * left.numel() * right.shape[-1])


_OWN: dict[Any, Callable[..., int]] = {
    _ATEN.convolution_backward: _convolution_backward_flops,
    _ATEN._cudnn_rnn: _cudnn_rnn_flops,
    _ATEN._cudnn_rnn_backward: _cudnn_rnn_backward_flops,
}
if hasattr(_ATEN, "_grouped_mm"):  # from torch 2.8 on
    _OWN[_ATEN._grouped_mm] = _grouped_matmul_flops


class OperatorObserver(TorchDispatchMode):  # type: ignore[no-untyped-call] # untyped in torch
    """Adds up what operators cost while it is entered."""

    def __init__(self, path: ModulePath) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # untyped in torch
        self._path = path
        self.flops: Counter[str] = Counter()
        self.read_bytes: Counter[str] = Counter()
        self.written_bytes: Counter[str] = Counter()
        self.without_formula: Counter[str] = Counter()

    @property
    def total_flops(self) -> int:
        """FLOPs of every operator seen."""
        return sum(self.flops.values())

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if not isinstance(func, torch._ops.OpOverload):
            return func(*args, **kwargs)  # a control-flow operator: what is in it comes by itself
        packet = func._overloadpacket
        formula = _OWN.get(packet) or flop_registry.get(packet)
        if formula is None:
            with self:
                parts = func.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
        out = func(*args, **kwargs)
        current = self._path.current
        if packet in _OWN:
            self.flops[current] += _OWN[packet](*args, **kwargs)
        elif formula is not None:
            self.flops[current] += formula(*args, **kwargs, out_val=out)
        elif not is_view(func, args, kwargs, out):
            self.without_formula[func._schema.name] += 1
        read_bytes, written_bytes = moved_bytes(func, args, kwargs, out)
        self.read_bytes[current] += read_bytes
        self.written_bytes[current] += written_bytes
        return out


class SavedStorages:
    """Storages that autograd keeps for backward, by the module whose operator keeps them."""

    def __init__(self, path: ModulePath, known: Iterable[torch.Tensor]) -> None:
        """`known` are parameters, buffers and inputs: they are there anyway."""
        self._path = path
        self._known = {id_ for tensor in known if (id_ := _identity(tensor)) is not None}
        # Held, so that no other storage gets the same identity as long as this one counts.
        self._storages: dict[str, dict[int, torch.UntypedStorage]] = {}

    @contextmanager
    def watching(self) -> Iterator[None]:
        """For the time of the context, what autograd saves is noted."""
        with torch.autograd.graph.saved_tensors_hooks(self._pack, lambda tensor: tensor):
            yield

    def _pack(self, tensor: torch.Tensor) -> torch.Tensor:
        identity = _identity(tensor)
        if identity is not None and identity not in self._known:
            own = self._storages.setdefault(self._path.current, {})
            own[identity] = tensor.untyped_storage()
        return tensor

    def size_bytes(self, path: str) -> int:
        """Bytes that a module and all within it keep, each storage once."""
        within = f"{path}."
        kept = {
            identity: storage.nbytes()
            for owner, own in self._storages.items()
            if not path or owner == path or owner.startswith(within)
            for identity, storage in own.items()
        }
        return sum(kept.values())


def _identity(tensor: torch.Tensor) -> int | None:
    try:
        return int(tensor.untyped_storage()._cdata)
    except NotImplementedError:  # sparse: several storages, none of its own
        return None
