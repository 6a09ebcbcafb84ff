"""Llama-2-7B in plain PyTorch, with the tensors that the published runs made.

In: nothing. Out: modules. Facts, read in torchtrain/models/llama/model.py of torchtitan of spring
2024 (https://github.com/pytorch/torchtitan): RMSNorm in float32, rotary embedding in complex64 from
float32 copies, SwiGLU of width 11008; the output is cast to float32. For LoRA, read in the
configs/peft.py of llama-recipes of 2023: adapters of rank 8 on queries and values; attention makes
all its scores and takes their softmax in float32, as that of transformers did.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

WIDTH, HIDDEN, HEADS, BLOCKS, VOCABULARY = 4096, 11008, 32, 32, 32000
_HEAD = WIDTH // HEADS
_RANK, _ALPHA, _DROPOUT = 8, 32, 0.05


class Norm(nn.Module):
    """RMSNorm whose figures are in float32."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(WIDTH))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        wide = x.float()
        scaled = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + 1e-5)
        return scaled.type_as(x) * self.weight


class Adapted(nn.Module):
    """A frozen product with a LoRA adapter."""

    def __init__(self) -> None:
        super().__init__()
        self.base = nn.Linear(WIDTH, WIDTH, bias=False).requires_grad_(False)
        self.down = nn.Linear(WIDTH, _RANK, bias=False)
        self.up = nn.Linear(_RANK, WIDTH, bias=False)
        self.dropout = nn.Dropout(_DROPOUT)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.base(x) + self.up(self.down(self.dropout(x))) * (_ALPHA / _RANK)


class Attention(nn.Module):
    """Causal attention: fused, or with LoRA by all its scores."""

    def __init__(self, is_lora: bool) -> None:
        super().__init__()
        self.is_lora = is_lora
        self.q, self.k, self.v, self.o = (
            Adapted() if adapts else nn.Linear(WIDTH, WIDTH, bias=False)
            for adapts in (is_lora, False, is_lora, False)
        )

    def forward(self, x: torch.Tensor, angles: torch.Tensor) -> torch.Tensor:
        q, k, v = (part(x).unflatten(-1, (HEADS, _HEAD)) for part in (self.q, self.k, self.v))
        q, k, v = (t.transpose(1, 2) for t in (_turned(q, angles), _turned(k, angles), v))
        if self.is_lora:
            y = _by_scores(q, k, v)
        else:
            y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.o(y.transpose(1, 2).contiguous().flatten(2))


def _turned(x: torch.Tensor, angles: torch.Tensor) -> torch.Tensor:
    pairs = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * angles[: x.shape[1], None]).flatten(3).type_as(x)


def _by_scores(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    length = q.shape[2]
    mask = torch.full((length, length), -1e4, dtype=q.dtype, device=q.device).triu(1)
    scores = q @ k.transpose(2, 3) / math.sqrt(_HEAD) + mask
    return functional.softmax(scores, dim=-1, dtype=torch.float32).type_as(q) @ v


class Block(nn.Module):
    """Attention and SwiGLU, each with its norm."""

    def __init__(self, is_lora: bool) -> None:
        super().__init__()
        self.norm_1, self.norm_2 = Norm(), Norm()
        self.attention = Attention(is_lora)
        self.gate, self.up = (nn.Linear(WIDTH, HIDDEN, bias=False) for _ in range(2))
        self.down = nn.Linear(HIDDEN, WIDTH, bias=False)

    def forward(self, x: torch.Tensor, angles: torch.Tensor) -> torch.Tensor:
        x = x + self.attention(self.norm_1(x), angles)
        y = self.norm_2(x)
        return x + self.down(functional.silu(self.gate(y)) * self.up(y))


class Llama(nn.Module):
    """The whole decoder; gives logits in float32. With `is_lora` only the adapters are trained."""

    def __init__(self, sequence: int, is_lora: bool = False) -> None:
        super().__init__()
        self.tokens = nn.Embedding(VOCABULARY, WIDTH)
        self.blocks = nn.ModuleList(Block(is_lora) for _ in range(BLOCKS))
        self.norm = Norm()
        self.output = nn.Linear(WIDTH, VOCABULARY, bias=False)
        angles = torch.empty(2 * sequence, _HEAD // 2, dtype=torch.complex64)
        self.register_buffer("angles", angles)
        if is_lora:
            for name, parameter in self.named_parameters():
                parameter.requires_grad_(".q.down" in name or ".q.up" in name
                                         or ".v.down" in name or ".v.up" in name)  # fmt: skip

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.tokens(ids)
        for block in self.blocks:
            x = block(x, self.angles)
        return self.output(self.norm(x)).float()
