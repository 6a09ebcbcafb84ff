"""The default training step, second half: the loss of an output.

In: the model's output and the batch's target. Out: a scalar loss, and a sentence on it.
Convention: the output's own `.loss`; cross-entropy for a 2-D float output; else means.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  # its usual name

from planner.errors import ModelError
from planner.worker.model.tensors import tensors_in


class LossKind(Enum):
    """The origin of the default loss."""

    OWN = "the output's own .loss"
    CROSS_ENTROPY = "cross-entropy of the 2-D float output with the batch's target"
    CROSS_ENTROPY_ZEROS = (
        "cross-entropy of the 2-D float output with a target of zeros (the batch has none)"
    )
    MEAN = "mean of the float outputs"


class DefaultLoss:
    """Chooses a loss at the first output and keeps it: later batches include a made target."""

    def __init__(self) -> None:
        self.kind: LossKind | None = None
        self.target_unused = False
        self._rows = 0  # of the first output: not the batch, where the model folds it

    def target_for(self, given: Any | None, device: torch.device) -> Any | None:
        """Returns the target of a new batch: the batch's own, or a made one."""
        if self.kind is LossKind.CROSS_ENTROPY_ZEROS:
            return torch.zeros(self._rows, dtype=torch.int64, device=device)
        return given

    def __call__(self, output: Any, target: Any | None) -> tuple[torch.Tensor, Any | None]:
        """Returns the loss, and the target (made here if the first output needs one).

        Raises:
            ModelError: the output holds no float tensor.
        """
        own = _own_loss(output)
        if own is not None:
            self.kind = LossKind.OWN
            return own, target
        if _is_logits(output):
            if target is None:
                self.kind = LossKind.CROSS_ENTROPY_ZEROS
                self._rows = output.shape[0]
                target = torch.zeros(self._rows, dtype=torch.int64, device=output.device)
            elif self.kind is None:
                self.kind = LossKind.CROSS_ENTROPY
            return F.cross_entropy(output, target), target
        self.kind = LossKind.MEAN
        self.target_unused = target is not None
        return _mean(output), target

    def assumptions(self) -> tuple[str, ...]:
        """Returns the choice as a sentence, once a step has run."""
        if self.kind is None:
            return ()
        unused = "; the target in the batch is not used" if self.target_unused else ""
        return (f"loss: {self.kind.value}{unused} (no training_step was given)",)


def check_loss(loss: Any, origin: str) -> torch.Tensor:
    """Returns the loss itself when backward() can start from it.

    Raises:
        ModelError: the loss is not a scalar tensor that requires grad.
    """
    if not isinstance(loss, torch.Tensor):
        raise ModelError(
            f"{origin} gave a {type(loss).__name__} as the loss; return a scalar tensor, "
            "like `return loss_function(model(x), y)`; one that steps the optimizers itself takes "
            "a third parameter: `def training_step(model, batch, optimizers):`"
        )
    if loss.numel() != 1:
        raise ModelError(
            f"{origin} gave a loss of shape {tuple(loss.shape)}; a loss is a scalar: "
            "return loss.mean()"
        )
    if not loss.requires_grad:
        raise ModelError(
            f"{origin} gave a loss that does not require grad; it must be computed from the "
            "model's output, without torch.no_grad(), .detach() or .item()"
        )
    return loss


def _own_loss(output: Any) -> torch.Tensor | None:
    loss = output.get("loss") if isinstance(output, Mapping) else getattr(output, "loss", None)
    return loss if isinstance(loss, torch.Tensor) else None


def _is_logits(output: Any) -> bool:
    return isinstance(output, torch.Tensor) and output.dim() == 2 and output.is_floating_point()


def _mean(output: Any) -> torch.Tensor:
    floats = [tensor for _, tensor in tensors_in(output) if tensor.is_floating_point()]
    if not floats:
        raise ModelError(
            f"the model's output is a {type(output).__name__} without a float tensor in it; "
            "write `def training_step(model, batch):` that returns a scalar loss"
        )
    total = floats[0].mean()
    for tensor in floats[1:]:
        total = total + tensor.mean()
    return total
