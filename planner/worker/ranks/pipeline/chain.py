"""The way of a micro-batch through a model: its blocks, what they hand on, and what uses what.

In: nothing. Out: Chain, which rehearsal.py makes. Convention: tensors are kept as their Layouts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._pytree import tree_leaves

from planner.errors import UsageError
from planner.worker.model.layout import thin

OTHERWISE = "write parallelize(model, mesh) in the model file, with the stages of your own program"


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """A tensor without its bytes."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    requires_grad: bool

    def on(self, device: torch.device | str) -> torch.Tensor:
        """Returns such a tensor on a device, with memory of its own."""
        return torch.empty(
            self.shape, dtype=self.dtype, device=device, requires_grad=self.requires_grad
        )

    def stand_in(self, device: torch.device) -> torch.Tensor:
        """Returns such a tensor whose elements are all the same bytes."""
        return thin(self.shape, self.dtype, device)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A call of a module between the blocks. `slot` is the number of blocks before it."""

    module: str
    slot: int
    output: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """The way of a micro-batch: names of blocks in order, with the tree of Layouts of each output.

    `users` are the slots in which a parameter is used (that of the block it is in, or of the next
    one); `loose` are parameters that are used outside of any module that is called.
    """

    blocks: tuple[str, ...]
    outputs: tuple[Any, ...]
    calls: tuple[Call, ...]
    users: dict[str, frozenset[int]]
    loose: frozenset[str]

    def hidden(self, block: int) -> Layout:
        """Returns the tensor that a block gives to the next one."""
        return hidden_of(self.outputs[block], self.blocks[block])


def layout_of(tensor: torch.Tensor) -> Layout:
    """Returns a tensor without its bytes."""
    return Layout(shape=tuple(tensor.shape), dtype=tensor.dtype, requires_grad=tensor.requires_grad)


def hidden_of(layouts: Any, name: str) -> Layout:
    """Returns the one tensor of what the block `name` returns, as Layouts.

    Raises:
        UsageError: there are others, or none.
    """
    found = [one for one in tree_leaves(layouts) if isinstance(one, Layout)]
    if len(found) != 1:
        raise UsageError(
            f"pp (--parallel) sends one tensor from block to block, and {name} returns "
            f"{len(found)}: " + OTHERWISE
        )
    return found[0]
