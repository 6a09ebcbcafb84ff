"""Sizes of what a step keeps in host memory in place of the card, and of the copies.

In: nothing. Out: records, sent by the child as JSON. Sizes in bytes, before any rounding.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class OffloadedActivations:
    """Saved tensors of one micro-batch that are on the host from forward to backward."""

    sizes_bytes: tuple[int, ...] = ()
    """Size of each tensor that is on the host when they are the most."""
    to_host_bytes: int = 0
    """Bytes of all copies to the host."""
    to_card_bytes: int = 0
    """Bytes of all copies back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OffloadedOptimizer:
    """An optimizer whose weights, gradients and states are on the host; one step of it."""

    weight_sizes_bytes: tuple[int, ...] = ()
    """Size of each copy of a trained weight."""
    gradient_sizes_bytes: tuple[int, ...] = ()
    """Size of each copy of a gradient."""
    state_bytes: int = 0
    """Bytes of the states."""
    update_bytes: int = 0
    """Bytes that the operators of the update read and write in host memory."""

    @property
    def to_host_bytes(self) -> int:
        """Returns the bytes of the gradients that a step copies to the host."""
        return sum(self.gradient_sizes_bytes)

    @property
    def to_card_bytes(self) -> int:
        """Returns the bytes of the weights that a step copies to the card."""
        return sum(self.weight_sizes_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Offloaded:
    """What a step keeps on its host; None: on the card, as usual."""

    activations: OffloadedActivations | None = None
    """Saved tensors of a micro-batch."""
    optimizer: OffloadedOptimizer | None = None
    """The optimizer."""
