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
class OffloadedShards:
    """Shards that FSDP keeps on the host: those of one rank; copies of one micro-batch."""

    parameter_sizes_bytes: tuple[int, ...] = ()
    """Size of each shard of a parameter."""
    gradient_sizes_bytes: tuple[int, ...] = ()
    """Size of each shard of a gradient."""
    state_bytes: int = 0
    """Bytes of the optimizer's states."""
    update_bytes: int = 0
    """Bytes that the operators of the update read and write in host memory."""
    to_card_forward_bytes: int = 0
    """Bytes of shards that are copied to the card in forward, to be gathered."""
    to_card_backward_bytes: int = 0
    """Bytes of shards that are copied to the card once more in backward."""
    largest_unit_bytes: int = 0
    """Shards of the largest unit that is gathered at once."""
    pinned: bool = True
    """Whether they are in pinned memory."""

    @property
    def parameters_bytes(self) -> int:
        """Returns the bytes of all shards of parameters."""
        return sum(self.parameter_sizes_bytes)

    @property
    def to_host_bytes(self) -> int:
        """Returns the bytes of the gradients that a micro-batch copies to the host."""
        return sum(self.gradient_sizes_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class OffloadedWeights:
    """Models of a pipeline that are on the host while they do not run; one generation."""

    resident_bytes: int = 0
    """Bytes of all weights."""
    to_card_bytes: int = 0
    """Bytes of all copies to the card."""
    to_host_bytes: int = 0
    """Bytes of all copies back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offloaded:
    """What a step keeps on its host; None: on the card, as usual."""

    activations: OffloadedActivations | None = None
    """Saved tensors of a micro-batch."""
    optimizer: OffloadedOptimizer | None = None
    """The optimizer."""
    shards: OffloadedShards | None = None
    """Parameters, gradients and states of one rank, with FSDP's CPUOffloadPolicy."""
    weights: OffloadedWeights | None = None
    """Models of a pipeline."""
