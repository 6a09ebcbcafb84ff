"""Activations in host memory: torch.autograd.graph.save_on_cpu around forward and loss.

In: tensors that autograd saves. Out: the same requests to the card's allocator as save_on_cpu with
pin_memory=True, and the sizes of the copies. Convention: on the emulated card the host side has no
bytes, only its sizes are kept; values that are known stay known.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch

from planner.errors import UsageError
from planner.wire.offload import OffloadedActivations
from planner.worker.values import twins

WORDS = (
    "activation offload: save_on_cpu(pin_memory=True) around forward and loss; each tensor that "
    "autograd saves, weights too, is copied to pinned host memory and back, on the stream of the "
    "kernels"
)


class ActivationOffload:
    """Takes the tensors that autograd saves to the host, and back for backward."""

    def __init__(self, *, real_values: bool = False) -> None:
        """With `real_values` torch's own save_on_cpu keeps the bytes, and nothing is counted."""
        self._real_values = real_values
        self.reset()

    def reset(self) -> None:
        """Counts from here on."""
        self._live: dict[int, int] = {}
        self._number = self._to_host_bytes = self._to_card_bytes = 0
        self._most: tuple[int, ...] = ()
        self._has_grown = False

    def around_forward(self) -> AbstractContextManager[Any]:
        """Returns a context in which saved tensors go to the host."""
        if self._real_values:
            return torch.autograd.graph.save_on_cpu(pin_memory=True)
        return torch.autograd.graph.saved_tensors_hooks(self.pack, self.unpack)

    def counts(self) -> OffloadedActivations:
        """Returns the copies since the last reset."""
        self._note_most()
        return OffloadedActivations(
            sizes_bytes=self._most,
            to_host_bytes=self._to_host_bytes,
            to_card_bytes=self._to_card_bytes,
        )

    def pack(self, tensor: torch.Tensor) -> Any:
        """Returns what is saved in place of a tensor.

        Raises:
            UsageError: the tensor is sparse.
        """
        if tensor.device.type != "cuda" and tensor.layout is torch.strided:
            return tensor
        if tensor.layout is not torch.strided:
            raise UsageError(
                "activations were to be offloaded (--offload activations), and autograd saves a "
                "sparse tensor, whose copies cannot be counted: leave the option out"
            )
        if not tensor.is_contiguous():
            tensor.contiguous()  # a copy between devices goes through a contiguous tensor
        size_bytes = tensor.numel() * tensor.element_size()
        number, self._number = self._number, self._number + 1
        self._to_host_bytes += size_bytes
        if size_bytes:
            self._live[number] = size_bytes
            self._has_grown = True
        live = self._live
        return _Saved(tensor, lambda: live.pop(number, None))

    def unpack(self, saved: Any) -> torch.Tensor:
        """Returns a tensor of the card for what was saved."""
        if isinstance(saved, torch.Tensor):
            return saved
        self._note_most()
        made: torch.Tensor = saved.on_card()
        self._to_card_bytes += made.numel() * made.element_size()
        return made

    def _note_most(self) -> None:
        """Keeps the live sizes if they are the most so far: they only shrink until the next one."""
        if self._has_grown and sum(self._live.values()) > sum(self._most):
            self._most = tuple(self._live.values())
        self._has_grown = False


class _Saved:
    """A tensor on the host, without bytes. `released` is called when autograd drops it."""

    def __init__(self, tensor: torch.Tensor, released: Callable[[], object]) -> None:
        self._size, self._dtype, self._device = tensor.size(), tensor.dtype, tensor.device
        self._released = released
        twin = twins.twin_of(tensor) if twins.is_plain(tensor) else None
        value = None if twin is None else twins.value_of(tensor)
        self._value = None if value is None else value.clone(memory_format=torch.contiguous_format)
        self._is_drawn = twin is not None and twin.is_drawn
        self._centred = twin is not None and twin.centred
        self._infinite = twin is not None and twin.infinite

    def on_card(self) -> torch.Tensor:
        """Returns a new tensor of the card, with the values as far as they were known."""
        made = torch.empty(self._size, dtype=self._dtype, device=self._device)
        twins.forget(made)
        if self._value is not None:
            twins.learn(made, self._value, assumed=self._is_drawn)
        elif self._centred or self._infinite:
            twin = twins.noted(made)
            twin.centred, twin.infinite = self._centred, self._infinite
        return made

    def __del__(self) -> None:
        self._released()
