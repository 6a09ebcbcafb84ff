"""A small decoder in plain PyTorch, which every way to share a step can cut.

In: its sizes. Out: a module on the card, random indices as its batch, its loss. Convention: a part
of a pipeline has no embedding or no head.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Of the model and of a rank's batch."""

    width: int = 256
    heads: int = 8
    depth: int = 4
    words: int = 8192
    sequence: int = 128
    batch: int = 8


class Block(nn.Module):
    """Attention and a feed-forward layer."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.head_width = sizes.width // sizes.heads
        self.norm1 = nn.LayerNorm(sizes.width)
        self.query = nn.Linear(sizes.width, sizes.width)
        self.key = nn.Linear(sizes.width, sizes.width)
        self.value = nn.Linear(sizes.width, sizes.width)
        self.out = nn.Linear(sizes.width, sizes.width)
        self.norm2 = nn.LayerNorm(sizes.width)
        self.up = nn.Linear(sizes.width, 4 * sizes.width)
        self.down = nn.Linear(4 * sizes.width, sizes.width)

    def forward(self, hidden: Tensor) -> Tensor:
        """(batch, sequence, width) in and out."""
        normed = self.norm1(hidden)
        query, key, value = (
            layer(normed).unflatten(-1, (-1, self.head_width)).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        hidden = hidden + self.out(mixed.transpose(1, 2).flatten(2))
        return hidden + self.down(functional.gelu(self.up(self.norm2(hidden))))


class Decoder(nn.Module):
    """Blocks `first` to `last`, with the embedding before the first and the head after the last."""

    def __init__(self, sizes: Sizes, first: int = 0, last: int | None = None) -> None:
        super().__init__()
        last = sizes.depth if last is None else last
        self.tokens = nn.Embedding(sizes.words, sizes.width) if first == 0 else None
        self.blocks = nn.ModuleList(Block(sizes) for _ in range(first, last))
        self.head = nn.Linear(sizes.width, sizes.words) if last == sizes.depth else None

    def forward(self, hidden: Tensor) -> Tensor:
        """Indices or (batch, sequence, width) in, logits or (batch, sequence, width) out."""
        if self.tokens is not None:
            hidden = self.tokens(hidden)
        for block in self.blocks:
            hidden = block(hidden)
        return hidden if self.head is None else self.head(hidden)


def indices(sizes: Sizes, batches: int = 1) -> Tensor:
    """Returns indices of words on the card."""
    return torch.zeros(batches * sizes.batch, sizes.sequence, dtype=torch.int64, device="cuda")


def loss_of(logits: Tensor, target: Tensor) -> Tensor:
    """Returns the mean loss of the words."""
    return functional.cross_entropy(logits.flatten(0, 1), target.flatten(0, 1))
