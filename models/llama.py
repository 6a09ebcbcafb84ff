"""Llama 3 language models, sequence 4096: `llama_1b`, `llama_8b`, `llama_70b`; default `llama_1b`.

Llama-3.2-1B has 1,235,814,400 parameters (head tied to the embedding), Llama-3.1-8B 8,030,261,248,
Llama-3.1-70B 70,553,706,496. RMSNorm, rotary embedding, grouped-query attention, SwiGLU. The rotary
frequencies are not rescaled for long context: that changes values, never sizes.
Source: Llama Team 2024, https://arxiv.org/abs/2407.21783
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

VOCABULARY = 128256
SEQUENCE = 4096
ROPE_BASE = 500_000.0
EPSILON = 1e-5


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """What differs between the models of the family."""

    width: int
    hidden: int
    depth: int
    heads: int
    kv_heads: int = 8
    tied: bool = False


class Attention(nn.Module):
    """Causal attention in which several query heads share one key and value head."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.head_width = size.width // size.heads
        self.groups = size.heads // size.kv_heads
        kv_width = size.kv_heads * self.head_width
        self.query = nn.Linear(size.width, size.width, bias=False)
        self.key = nn.Linear(size.width, kv_width, bias=False)
        self.value = nn.Linear(size.width, kv_width, bias=False)
        self.project = nn.Linear(size.width, size.width, bias=False)

    def forward(self, x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        query, key, value = (
            layer(x).unflatten(2, (-1, self.head_width)).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        query, key = rotate(query, cosine, sine), rotate(key, cosine, sine)
        # Heads are repeated because not every attention backend takes fewer key than query heads.
        key, value = (t.repeat_interleave(self.groups, dim=1) for t in (key, value))
        mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        return self.project(mixed.transpose(1, 2).flatten(2))


def rotate(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Turn each pair (i, i + half) of the last dimension by its position's angle."""
    first, second = x.chunk(2, dim=-1)
    return (x * cosine + torch.cat([-second, first], dim=-1) * sine).type_as(x)


class Block(nn.Module):
    """Attention and SwiGLU, each behind an RMSNorm and around a shortcut."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.norm1 = nn.RMSNorm(size.width, eps=EPSILON)
        self.attention = Attention(size)
        self.norm2 = nn.RMSNorm(size.width, eps=EPSILON)
        self.gate = nn.Linear(size.width, size.hidden, bias=False)
        self.up = nn.Linear(size.width, size.hidden, bias=False)
        self.down = nn.Linear(size.hidden, size.width, bias=False)

    def forward(self, x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x), cosine, sine)
        normed = self.norm2(x)
        return x + self.down(functional.silu(self.gate(normed)) * self.up(normed))


class Llama(nn.Module):
    """Token ids (batch, tokens) to logits (batch, tokens, vocabulary)."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.head_width = size.width // size.heads
        self.tokens = nn.Embedding(VOCABULARY, size.width)
        self.blocks = nn.ModuleList(Block(size) for _ in range(size.depth))
        self.norm = nn.RMSNorm(size.width, eps=EPSILON)
        self.head = nn.Linear(size.width, VOCABULARY, bias=False)
        if size.tied:
            self.head.weight = self.tokens.weight
        self._checkpointed = False
        # How matrices are divided among GPUs, in the words of transformers.
        self.tp_plan = {
            "tokens": "embedding_rowwise",
            "blocks.*.attention.query": "colwise",
            "blocks.*.attention.key": "colwise",
            "blocks.*.attention.value": "colwise",
            "blocks.*.attention.project": "rowwise",
            "blocks.*.gate": "colwise",
            "blocks.*.up": "colwise",
            "blocks.*.down": "rowwise",
            "head": "colwise_gather_output",
        }

    def checkpoint_activations(self, enabled: bool = True) -> None:
        """Keep only the input of each block and compute the block again in backward."""
        self._checkpointed = enabled

    def forward(self, ids: Tensor) -> Tensor:
        x = self.tokens(ids)
        cosine, sine = self.rotations(ids.shape[1], x)
        for block in self.blocks:
            if self._checkpointed and torch.is_grad_enabled():
                x = checkpoint(block, x, cosine, sine, use_reentrant=False)
            else:
                x = block(x, cosine, sine)
        return self.head(self.norm(x))

    def rotations(self, tokens: int, like: Tensor) -> tuple[Tensor, Tensor]:
        """Cosine and sine (tokens, head width), computed in float32, in the dtype of `like`."""
        pairs = torch.arange(0, self.head_width, 2, device=like.device, dtype=torch.float32)
        positions = torch.arange(tokens, device=like.device, dtype=torch.float32)
        angles = torch.outer(positions, ROPE_BASE ** (-pairs / self.head_width)).repeat(1, 2)
        return angles.cos().to(like.dtype), angles.sin().to(like.dtype)


def llama_1b() -> nn.Module:
    """Llama-3.2-1B."""
    return Llama(Size(width=2048, hidden=8192, depth=16, heads=32, tied=True))


def llama_8b() -> nn.Module:
    """Llama-3.1-8B."""
    return Llama(Size(width=4096, hidden=14336, depth=32, heads=32))


def llama_70b() -> nn.Module:
    """Llama-3.1-70B."""
    return Llama(Size(width=8192, hidden=28672, depth=80, heads=64))


build_model = llama_1b


def build_batch(batch_size: int, sequence_length: int = SEQUENCE) -> Tensor:
    """Token ids, (batch, sequence_length)."""
    return torch.randint(0, VOCABULARY, (batch_size, sequence_length))


def training_step(model: nn.Module, batch: Tensor) -> Tensor:
    """Cross-entropy of the next token, in float32; the labels are shifted, not the logits."""
    labels = functional.pad(batch[:, 1:], (0, 1), value=-100)
    logits = model(batch).flatten(0, 1).float()
    return functional.cross_entropy(logits, labels.flatten(), ignore_index=-100)
