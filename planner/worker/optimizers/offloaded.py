"""Optimizers on the host: copies of the trained weights in RAM, with their gradients and states.

In: trained weights, a function that makes optimizers of their copies. Out: an object that steps
like an optimizer. Convention: on the emulated card the copies are meta tensors, so the update is
run without bytes; with real values they are pinned tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from planner.errors import UsageError
from planner.wire.offload import OffloadedOptimizer
from planner.worker.optimizers.tree import names_in, optimizers_in, states_of
from planner.worker.values import twins

_ASKED = "the optimizer was to be offloaded (--offload optimizer)"


class HostOptimizer:
    """Steps copies of weights on the host: gradients go there, updated weights come back."""

    def __init__(
        self,
        weights: Sequence[nn.Parameter],
        make: Callable[[list[nn.Parameter]], Any],
        *,
        real_values: bool = False,
    ) -> None:
        """Calls `make` with the copies; its result is one optimizer or several.

        Raises:
            UsageError: a weight that is no plain tensor; an optimizer that runs on the card alone.
        """
        self._real_values = real_values
        for weight in weights:
            if weight.layout is not torch.strided or not twins.is_ordinary(type(weight)):
                raise UsageError(
                    f"{_ASKED}, and a trained weight is a {type(weight).__name__}, not a plain "
                    "tensor: leave the option out"
                )
        self._pairs = [(weight, self._copy_of(weight)) for weight in weights]
        self.given = make([copy for _, copy in self._pairs])
        for one in optimizers_in(self.given):
            if type(one).__module__.partition(".")[0] == "bitsandbytes":
                raise UsageError(
                    f"{_ASKED}, and {type(one).__name__} of bitsandbytes runs on the card alone: "
                    "name another optimizer, like adamw"
                )

    @property
    def words(self) -> str:
        """A sentence for the report."""
        return (
            f"optimizer offload: {names_in(self.given)} steps pinned copies of "
            f"{len(self._pairs)} weights in host RAM, in their dtypes; gradients are copied there "
            "after backward, weights back after the step, and the card waits"
        )

    def step(self) -> None:
        """Copies gradients to the host, steps there, and copies weights back.

        Raises:
            UsageError: a sparse gradient; an optimizer that reads values of its weights.
        """
        for weight, copy in self._pairs:
            if weight.grad is None:
                continue
            if weight.grad.layout is not torch.strided:
                raise UsageError(
                    f"{_ASKED}, and a gradient is sparse: leave the option out, or sparse=True of "
                    "the embedding"
                )
            if copy.grad is None:
                copy.grad = self._empty_like(copy)
            self._crosses(weight.grad, copy.grad)
            if self._real_values:
                copy.grad.copy_(weight.grad)
        self._update()
        with torch.no_grad():
            for weight, copy in self._pairs:
                self._crosses(weight, copy)
                if self._real_values:
                    weight.copy_(copy)
                elif twins.is_plain(weight):
                    twins.forget(weight)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drops or zeroes the gradients on the card; those on the host are written anew."""
        for weight, _ in self._pairs:
            if weight.grad is None:
                continue
            if set_to_none:
                weight.grad = None
            else:
                weight.grad.zero_()

    def counts(self, update_bytes: int) -> OffloadedOptimizer:
        """Returns the sizes on the host; `update_bytes` are those that one step moves there."""
        return OffloadedOptimizer(
            weight_sizes_bytes=tuple(copy.nbytes for _, copy in self._pairs),
            gradient_sizes_bytes=tuple(
                copy.grad.nbytes for _, copy in self._pairs if copy.grad is not None
            ),
            state_bytes=sum(tensor.nbytes for tensor in states_of(self.given)),
            update_bytes=update_bytes,
        )

    def _update(self) -> None:
        try:
            for one in optimizers_in(self.given):
                one.step()
        except (NotImplementedError, RuntimeError) as error:
            if self._real_values:
                raise
            raise UsageError(
                f"{_ASKED}, and {names_in(self.given)} cannot be run there without the values of "
                f"the weights ({str(error).partition(chr(10))[0]}): name another optimizer, like "
                "adamw"
            ) from error

    def _copy_of(self, weight: nn.Parameter) -> nn.Parameter:
        copy = self._empty_like(weight)
        if self._real_values:
            copy.copy_(weight.detach())
        return nn.Parameter(copy)

    def _empty_like(self, tensor: torch.Tensor) -> torch.Tensor:
        if self._real_values:
            return torch.empty_like(tensor.detach(), device="cpu", pin_memory=True)
        return torch.empty_like(tensor.detach(), device="meta")

    def _crosses(self, on_card: torch.Tensor, on_host: torch.Tensor) -> None:
        """Requests what Tensor.copy_ does between devices for tensors of different strides."""
        if self._real_values or on_card.stride() == on_host.stride() or on_card.is_contiguous():
            return
        torch.empty(on_card.shape, dtype=on_card.dtype, device=on_card.device)
