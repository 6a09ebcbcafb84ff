"""BERT-base (uncased) with its masked-language-model head, sequence 512: 109,514,298 parameters.

12 post-norm encoder blocks, width 768, 12 heads; the decoder is tied to the word embedding.
Source: Devlin, Chang, Lee, Toutanova 2018, https://arxiv.org/abs/1810.04805
"""

from __future__ import annotations

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

VOCABULARY = 30522
SEQUENCE = 512
DROPOUT = 0.1
EPSILON = 1e-12


@fx.wrap  # torch.fx traces no condition
def position_ids(ids: Tensor) -> Tensor:
    """Positions (tokens,); told by the shape, because an embedding on the card checks no index."""
    tokens = ids.shape[1]
    if tokens > SEQUENCE:
        raise ValueError(f"BERT has {SEQUENCE} positions; a sequence of {tokens} is too long")
    return torch.arange(tokens, device=ids.device)


class Block(nn.Module):
    """Self-attention and MLP, each followed by a layer norm over its shortcut."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.project = nn.Linear(width, width)
        self.norm1 = nn.LayerNorm(width, eps=EPSILON)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )
        self.norm2 = nn.LayerNorm(width, eps=EPSILON)
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm1(x + self.dropout(self.project(self.attention(x))))
        return self.norm2(x + self.dropout(self.mlp(x)))

    def attention(self, x: Tensor) -> Tensor:
        batch, tokens, width = x.shape
        heads = (batch, tokens, self.heads, width // self.heads)
        query, key, value = (
            layer(x).view(heads).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )
        mixed = functional.scaled_dot_product_attention(
            query, key, value, dropout_p=DROPOUT if self.training else 0.0
        )
        return mixed.transpose(1, 2).reshape(batch, tokens, width)


class BertForMaskedLM(nn.Module):
    """Token ids (batch, tokens) without padding to logits (batch, tokens, vocabulary)."""

    def __init__(self, width: int = 768, depth: int = 12, heads: int = 12) -> None:
        super().__init__()
        self.words = nn.Embedding(VOCABULARY, width)
        self.positions = nn.Embedding(SEQUENCE, width)
        self.segments = nn.Embedding(2, width)
        self.norm = nn.LayerNorm(width, eps=EPSILON)
        self.dropout = nn.Dropout(DROPOUT)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.transform = nn.Sequential(
            nn.Linear(width, width), nn.GELU(), nn.LayerNorm(width, eps=EPSILON)
        )
        self.decoder = nn.Linear(width, VOCABULARY)
        self.apply(_initialise)
        self.decoder.weight = self.words.weight

    def forward(self, ids: Tensor) -> Tensor:
        segments = torch.zeros_like(ids)
        x = self.words(ids) + self.segments(segments) + self.positions(position_ids(ids))
        x = self.dropout(self.norm(x))
        for block in self.blocks:
            x = block(x)
        return self.decoder(self.transform(x))


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)


def build_model() -> nn.Module:
    """BERT-base with the masked-language-model head."""
    return BertForMaskedLM()


def build_batch(batch_size: int, sequence_length: int = SEQUENCE) -> Tensor:
    """Token ids, (batch, sequence_length), of at most 512 tokens."""
    return torch.randint(0, VOCABULARY, (batch_size, sequence_length))


def training_step(model: nn.Module, batch: Tensor) -> Tensor:
    """Cross-entropy over all positions: which of them are masked changes no size."""
    return functional.cross_entropy(model(batch).flatten(0, 1), batch.flatten())
