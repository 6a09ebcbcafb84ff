"""T5 encoder-decoder, 512 tokens in, 512 out: `t5_small` (default), `t5_base`.

60,506,624 and 222,903,552 parameters, one embedding for encoder, decoder and head. Attention is
written out, unscaled and with a learned bias by relative position, as published: fused kernels
take no bias that needs a gradient. Source: Raffel et al. 2019, https://arxiv.org/abs/1910.10683
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

VOCABULARY = 32128
SEQUENCE = 512
DROPOUT = 0.1
HEAD_WIDTH = 64
BUCKETS = 32  # of relative positions
MAX_DISTANCE = 128  # from here on one bucket


def position_buckets(queries: int, keys: int, causal: bool, device: torch.device) -> Tensor:
    """Bucket (queries, keys) of each distance: exact when near, logarithmic when far."""
    distance = (
        torch.arange(keys, device=device)[None, :] - torch.arange(queries, device=device)[:, None]
    )
    buckets = BUCKETS if causal else BUCKETS // 2
    offset = torch.zeros_like(distance) if causal else (distance > 0).long() * buckets
    away = (-distance).clamp(min=0) if causal else distance.abs()
    exact = buckets // 2
    ratio = torch.log(away.clamp(min=1).float() / exact) / math.log(MAX_DISTANCE / exact)
    far = (exact + (ratio * (buckets - exact)).long()).clamp(max=buckets - 1)
    return offset + torch.where(away < exact, away, far)


class PositionBias(nn.Module):
    """Learned bias (1, heads, queries, keys), shared by all blocks; causal ones mask the future."""

    def __init__(self, heads: int, causal: bool) -> None:
        super().__init__()
        self.causal = causal
        self.bias = nn.Embedding(BUCKETS, heads)

    def forward(self, tokens: int) -> Tensor:
        weight = self.bias.weight
        buckets = position_buckets(tokens, tokens, self.causal, weight.device)
        bias = self.bias(buckets).permute(2, 0, 1).unsqueeze(0)
        if not self.causal:
            return bias
        future = torch.ones(tokens, tokens, dtype=torch.bool, device=weight.device).triu(1)
        return bias.masked_fill(future, torch.finfo(bias.dtype).min)


class Attention(nn.Module):
    """Unscaled attention from `x` to `memory`, behind a norm and around a shortcut."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        inner = heads * HEAD_WIDTH
        self.norm = nn.RMSNorm(width, eps=1e-6)
        self.query = nn.Linear(width, inner, bias=False)
        self.key = nn.Linear(width, inner, bias=False)
        self.value = nn.Linear(width, inner, bias=False)
        self.project = nn.Linear(inner, width, bias=False)

    def forward(self, x: Tensor, memory: Tensor | None, bias: Tensor | None) -> Tensor:
        normed = self.norm(x)
        source = normed if memory is None else memory
        query, key, value = (
            out.unflatten(2, (-1, HEAD_WIDTH)).transpose(1, 2)
            for out in (self.query(normed), self.key(source), self.value(source))
        )
        scores = query @ key.transpose(2, 3)
        if bias is not None:
            scores = scores + bias
        weights = functional.dropout(
            scores.float().softmax(-1).type_as(scores), DROPOUT, self.training
        )
        mixed = (weights @ value).transpose(1, 2).flatten(2)
        return x + functional.dropout(self.project(mixed), DROPOUT, self.training)


class Block(nn.Module):
    """Self-attention, in the decoder attention to the encoder's output, and a ReLU MLP."""

    def __init__(self, width: int, hidden: int, heads: int, decoder: bool) -> None:
        super().__init__()
        self.attention = Attention(width, heads)
        self.cross_attention = Attention(width, heads) if decoder else None
        self.norm = nn.RMSNorm(width, eps=1e-6)
        self.up = nn.Linear(width, hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor, bias: Tensor, memory: Tensor | None) -> Tensor:
        x = self.attention(x, None, bias)
        if self.cross_attention is not None:
            x = self.cross_attention(x, memory, None)
        hidden = functional.dropout(functional.relu(self.up(self.norm(x))), DROPOUT, self.training)
        return x + functional.dropout(self.down(hidden), DROPOUT, self.training)


class Stack(nn.Module):
    """Encoder or decoder over embedded tokens."""

    def __init__(self, width: int, hidden: int, depth: int, heads: int, decoder: bool) -> None:
        super().__init__()
        self.positions = PositionBias(heads, causal=decoder)
        self.blocks = nn.ModuleList(Block(width, hidden, heads, decoder) for _ in range(depth))
        self.norm = nn.RMSNorm(width, eps=1e-6)

    def forward(self, x: Tensor, memory: Tensor | None = None) -> Tensor:
        bias = self.positions(x.shape[1])
        x = functional.dropout(x, DROPOUT, self.training)
        for block in self.blocks:
            x = block(x, bias, memory)
        return functional.dropout(self.norm(x), DROPOUT, self.training)


class T5(nn.Module):
    """Token ids of both sides to logits (batch, decoder tokens, vocabulary)."""

    def __init__(self, width: int, hidden: int, depth: int, heads: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(VOCABULARY, width)
        self.encoder = Stack(width, hidden, depth, heads, decoder=False)
        self.decoder = Stack(width, hidden, depth, heads, decoder=True)

    def forward(self, input_ids: Tensor, decoder_ids: Tensor) -> Tensor:
        memory = self.encoder(self.tokens(input_ids))
        x = self.decoder(self.tokens(decoder_ids), memory)
        # The tied head works on a rescaled input, which keeps the logits near unit size.
        return functional.linear(x * x.shape[-1] ** -0.5, self.tokens.weight)


def t5_small() -> nn.Module:
    """T5-small: width 512, 6 + 6 blocks."""
    return T5(width=512, hidden=2048, depth=6, heads=8)


def t5_base() -> nn.Module:
    """T5-base: width 768, 12 + 12 blocks."""
    return T5(width=768, hidden=3072, depth=12, heads=12)


build_model = t5_small


def build_batch(batch_size: int, sequence_length: int = SEQUENCE) -> dict[str, Tensor]:
    """Token ids of encoder and decoder, (batch, sequence_length) each."""
    ids = torch.randint(0, VOCABULARY, (batch_size, sequence_length))
    return {"input_ids": ids, "decoder_ids": torch.zeros_like(ids)}


def training_step(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """Cross-entropy of the decoder's next token; the last position has none."""
    labels = functional.pad(batch["decoder_ids"][:, 1:], (0, 1), value=-100)
    logits = model(**batch)
    return functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-100)
