"""GPT-2 (small) language model, sequence 1024: 124,439,808 parameters, head tied to the embedding.

12 pre-norm decoder blocks, width 768, 12 heads, learned positions, dropout 0.1 as published.
Source: Radford et al. 2019,
https://cdn.openai.com/better-language-models/language_models_are_unsupervised_multitask_learners.pdf
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

VOCABULARY = 50257
SEQUENCE = 1024
DROPOUT = 0.1


class Block(nn.Module):
    """Causal self-attention and MLP, each behind a layer norm and around a shortcut."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width),
            nn.GELU(approximate="tanh"),
            nn.Linear(4 * width, width),
            nn.Dropout(DROPOUT),
        )
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.dropout(self.project(self.attention(self.norm1(x))))
        return x + self.mlp(self.norm2(x))

    def attention(self, x: Tensor) -> Tensor:
        batch, tokens, width = x.shape
        heads = (batch, tokens, self.heads, width // self.heads)
        query, key, value = (
            part.view(heads).transpose(1, 2) for part in self.qkv(x).split(width, dim=2)
        )
        mixed = functional.scaled_dot_product_attention(
            query, key, value, dropout_p=DROPOUT if self.training else 0.0, is_causal=True
        )
        return mixed.transpose(1, 2).reshape(batch, tokens, width)


class GPT2(nn.Module):
    """Token ids (batch, tokens) to logits (batch, tokens, vocabulary)."""

    def __init__(self, width: int = 768, depth: int = 12, heads: int = 12) -> None:
        super().__init__()
        self.tokens = nn.Embedding(VOCABULARY, width)
        self.positions = nn.Embedding(SEQUENCE, width)
        self.dropout = nn.Dropout(DROPOUT)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, VOCABULARY, bias=False)
        self.apply(_initialise)
        self.head.weight = self.tokens.weight
        self._checkpointed = False

    def checkpoint_activations(self, enabled: bool = True) -> None:
        """Keep only the input of each block and compute the block again in backward."""
        self._checkpointed = enabled

    def forward(self, ids: Tensor) -> Tensor:
        tokens = ids.shape[1]
        if tokens > SEQUENCE:  # told by the shape: an embedding on the card checks no index
            raise ValueError(f"GPT-2 has {SEQUENCE} positions; a sequence of {tokens} is too long")
        positions = torch.arange(tokens, device=ids.device)
        x = self.dropout(self.tokens(ids) + self.positions(positions))
        for block in self.blocks:
            if self._checkpointed and torch.is_grad_enabled():
                x = checkpoint(block, x, use_reentrant=False)
            else:
                x = block(x)
        return self.head(self.norm(x))


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)


def build_model() -> nn.Module:
    """GPT-2 of 124 M parameters."""
    return GPT2()


def build_batch(batch_size: int, sequence_length: int = SEQUENCE) -> Tensor:
    """Token ids, (batch, sequence_length), of at most 1024 tokens."""
    return torch.randint(0, VOCABULARY, (batch_size, sequence_length))


def training_step(model: nn.Module, batch: Tensor) -> Tensor:
    """Cross-entropy of the next token; the labels are shifted, which copies ids, not logits."""
    labels = functional.pad(batch[:, 1:], (0, 1), value=-100)
    return functional.cross_entropy(model(batch).flatten(0, 1), labels.flatten(), ignore_index=-100)
