"""Cross-entropy over a large vocabulary in pieces, so that logits are never whole.

In: a model whose output layer can be found. Out: the same model; its output layer gives
PostponedLogits in training. Convention: each piece is a checkpoint: its logits are computed in the
forward, and once more in backward, by plain PyTorch.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  # its usual name
from torch import nn
from torch.utils.checkpoint import checkpoint

from planner.errors import UsageError
from planner.worker.model.compiled import has_compiled_parts
from planner.worker.model.postponed_logits import PostponedLogits


class ChunkedLoss:
    """The output layer of a model, and the loss of its rows in `pieces`."""

    def __init__(self, name: str, head: nn.Module, classes: int, pieces: int) -> None:
        self._name, self._classes, self._pieces = name, classes, pieces
        self._head: Any = head
        self._forward = head.forward
        self._computes = False
        self._used = False
        self._head.forward = self._postponed

    @property
    def words(self) -> str:
        """A sentence for the report."""
        return (
            f"loss in pieces: the output layer {self._name} and the cross-entropy are computed for "
            f"1/{self._pieces} of the tokens at a time, and once more in backward (a checkpoint "
            "for each piece)"
        )

    def check_used(self) -> None:
        """Refuses a step whose loss did not come from the logits of the output layer.

        Raises:
            UsageError: names the layer.
        """
        if not self._used:
            raise UsageError(
                f"the loss was to be computed in pieces (--chunked-loss {self._pieces}), but the "
                f"output of {self._name}, the model's last linear layer, does not reach "
                "torch.nn.functional.cross_entropy: leave the option out, or compute the pieces in "
                "training_step"
            )
        self._used = False

    def _postponed(self, hidden: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        if self._computes or not torch.is_grad_enabled() or args or kwargs:
            return self._forward(hidden, *args, **kwargs)
        return PostponedLogits(
            hidden, classes=self._classes, dtype=self._dtype(hidden), loss=self._loss
        )

    def _dtype(self, hidden: torch.Tensor) -> torch.dtype:
        kind = hidden.device.type
        return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else hidden.dtype

    def _loss(
        self,
        hidden: torch.Tensor,
        target: torch.Tensor,
        *,
        cast: torch.dtype | None,
        ignore_index: int,
        reduction: str,
        label_smoothing: float,
    ) -> torch.Tensor:
        def of_piece(rows: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
            logits = self._logits(rows)
            return F.cross_entropy(
                logits if cast is None else logits.to(cast),
                target,
                ignore_index=ignore_index,
                reduction="sum",
                label_smoothing=label_smoothing,
            )

        self._used = True
        pairs = zip(hidden.chunk(self._pieces), target.chunk(self._pieces), strict=True)
        losses = [checkpoint(of_piece, *pair, use_reentrant=False) for pair in pairs]
        total: torch.Tensor = torch.stack(losses).sum()
        return total if reduction == "sum" else total / (target != ignore_index).sum()

    def _logits(self, rows: torch.Tensor) -> torch.Tensor:
        self._computes = True
        try:
            logits: torch.Tensor = self._head(rows)
        finally:
            self._computes = False
        return logits


def chunked_loss(model: nn.Module, pieces: int) -> ChunkedLoss:
    """Makes the output layer of `model` postpone its logits.

    Raises:
        UsageError: there is no such layer, or the model is compiled.
    """
    asked = f"the loss was to be computed in pieces (--chunked-loss {pieces})"
    if has_compiled_parts(model):
        raise UsageError(f"{asked}, and the model is compiled: leave one of the two out")
    head = _output_layer(model)
    if head is None:
        raise UsageError(
            f"{asked}, and the model has no output layer (get_output_embeddings(), or an "
            "nn.Linear): compute the pieces in training_step"
        )
    names = {id(module): name for name, module in model.named_modules()}
    classes = getattr(head, "out_features", None)
    if not isinstance(classes, int):
        weight: Any = head.weight
        classes = int(weight.shape[0])
    return ChunkedLoss(names.get(id(head), type(head).__name__), head, classes, pieces)


def _output_layer(model: nn.Module) -> nn.Module | None:
    found = getattr(model, "get_output_embeddings", None)
    if callable(found):
        own = found()
        if isinstance(own, nn.Module):
            return own
    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    return linear[-1] if linear else None
