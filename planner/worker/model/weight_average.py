"""An exponential moving average of the weights, kept as a copy of the model.

In: the model on the card, the decay. Out: WeightAverage. Convention: as torch's AveragedModel with
get_ema_multi_avg_fn and timm's ModelEmaV3: parameters are averaged, buffers are copied. Unlike
AveragedModel it has no counter on the card, which would be read in every step.
"""

from __future__ import annotations

import copy
from collections import defaultdict

import torch
from torch import nn

from planner.worker.model.compiled import original


class WeightAverage:
    """A deep copy of a model, moved towards the model after each step."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._model = original(model)
        self._decay = decay
        self.module: nn.Module = copy.deepcopy(self._model)

    @torch.no_grad()
    def update(self) -> None:
        """Averages the parameters, one kernel for many, and copies non-floating tensors."""
        averaged: dict[torch.dtype, list[torch.Tensor]] = defaultdict(list)
        current: dict[torch.dtype, list[torch.Tensor]] = defaultdict(list)
        for kept, weight in zip(self.module.parameters(), self._model.parameters(), strict=True):
            if kept.is_floating_point() or kept.is_complex():
                averaged[kept.dtype].append(kept)
                current[kept.dtype].append(weight)
            else:
                kept.copy_(weight)
        for dtype, kept_ones in averaged.items():
            torch._foreach_lerp_(kept_ones, current[dtype], 1.0 - self._decay)
        for copied, buffer in zip(self.module.buffers(), self._model.buffers(), strict=True):
            copied.copy_(buffer)


def weight_average(model: nn.Module, decay: float | None) -> WeightAverage | None:
    """Returns the average of `model` with that decay; None without one."""
    return None if decay is None else WeightAverage(model, decay)
