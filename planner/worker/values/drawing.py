"""Numbers for values that the card has computed, where a number is needed.

In: tensors of the card whose values are not known. Out: values, drawn once and kept, so that two
reads of one tensor agree. Convention: results of products, convolutions and norms are drawn around
zero (normal, deviation 1), every other float between 0 and 1, like losses and probabilities. The
draws come from a separate generator: the user's random streams do not change.
"""

from __future__ import annotations

from typing import Any

import torch

from planner.worker.values import twins

DRAW_LIMIT_BYTES = 64 << 20
_LEAST = 1e-6  # a drawn number is not 0: it may be divided by, or be the argument of a logarithm
_BLOCK = (1 << 18) + 7  # numbers; larger tensors repeat blocks from a drawn offset on


class Drawing:
    """Draws for one run; the same seed gives the same numbers."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator()
        self.generator.manual_seed(seed)
        self._blocks: dict[tuple[torch.dtype, bool], torch.Tensor] = {}

    def make_known(self, tensor: torch.Tensor) -> bool:
        """Gives an unknown tensor values; False where there are too many of them."""
        twin = twins.noted(tensor)
        if twin.storage is not None and not twin.blank:
            return True
        if twins.view_key(tensor) in twin.views:
            return True
        storage_bytes = tensor.untyped_storage().nbytes()
        if storage_bytes <= DRAW_LIMIT_BYTES:
            whole = torch.empty(-(-storage_bytes // tensor.element_size()), dtype=tensor.dtype)
            self._fill(whole, centred=twin.centred)
            twin.storage = whole.untyped_storage()
            twin.assumed, twin.blank = True, False
            return True
        if tensor.numel() * tensor.element_size() > DRAW_LIMIT_BYTES:
            return False
        made = torch.empty(tensor.shape, dtype=tensor.dtype)
        self._fill(made, centred=twin.centred)
        twin.views[twins.view_key(tensor)] = made
        return True

    def noise(self, shape: Any, dtype: torch.dtype, *, centred: bool = False) -> torch.Tensor:
        """Returns a tensor of drawn numbers on the host."""
        made = torch.empty(shape, dtype=dtype)
        self._fill(made, centred=centred)
        return made

    def _fill(self, tensor: torch.Tensor, *, centred: bool) -> None:
        if tensor.numel() == 0:
            return
        if tensor.is_complex():
            self._fill(torch.view_as_real(tensor), centred=centred)
        elif tensor.numel() > 2 * _BLOCK:
            self._repeat(tensor, centred=centred)
        elif not tensor.is_floating_point():
            tensor.random_(0, 2, generator=self.generator)
        elif tensor.element_size() == 1:  # 8-bit floats have no kernel that draws
            tensor.copy_(self.noise(tensor.shape, torch.float32, centred=centred))
        elif centred:
            tensor.normal_(generator=self.generator)
        else:
            tensor.uniform_(_LEAST, 1.0, generator=self.generator)

    def _repeat(self, tensor: torch.Tensor, *, centred: bool) -> None:
        key = (tensor.dtype, centred)
        if key not in self._blocks:
            self._blocks[key] = self.noise((_BLOCK,), tensor.dtype, centred=centred)
        block, count = self._blocks[key], tensor.numel()
        begin = int(torch.randint(_BLOCK, (), generator=self.generator))
        turned = torch.cat((block[begin:], block[:begin]))
        times = -(-count // _BLOCK)
        tensor.copy_(turned.repeat(times)[:count].view(tensor.shape))
