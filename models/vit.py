"""Vision Transformer ViT-B/16 for 224 x 224 images and 1000 classes: 86,567,656 parameters.

Pre-norm encoder of 12 blocks, width 768, 12 heads, class token and learned positions.
Source: Dosovitskiy et al. 2020, https://arxiv.org/abs/2010.11929
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

IMAGE_SIZE = 224
PATCH_SIZE = 16


class Block(nn.Module):
    """Self-attention and MLP, each behind a layer norm and around a shortcut."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.qkv = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))

    def attention(self, x: Tensor) -> Tensor:
        batch, tokens, width = x.shape
        qkv = self.qkv(x).view(batch, tokens, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(query, key, value)
        return self.project(mixed.transpose(1, 2).reshape(batch, tokens, width))


class VisionTransformer(nn.Module):
    """Patches to tokens, encoder blocks, classification from the class token."""

    def __init__(
        self, width: int = 768, depth: int = 12, heads: int = 12, classes: int = 1000
    ) -> None:
        super().__init__()
        tokens = (IMAGE_SIZE // PATCH_SIZE) ** 2 + 1
        self.patches = nn.Conv2d(3, width, PATCH_SIZE, PATCH_SIZE)
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(torch.randn(1, tokens, width) * 0.02)
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.head = nn.Linear(width, classes)

    def forward(self, images: Tensor) -> Tensor:
        patches = self.patches(images).flatten(2).transpose(1, 2)
        class_token = self.class_token.expand(images.shape[0], -1, -1)
        tokens = torch.cat([class_token, patches], dim=1) + self.positions
        return self.head(self.norm(self.blocks(tokens))[:, 0])


def build_model() -> nn.Module:
    """ViT-B/16."""
    return VisionTransformer()


def build_batch(batch_size: int) -> Tensor:
    """Images, (batch, 3, 224, 224)."""
    return torch.randn(batch_size, 3, IMAGE_SIZE, IMAGE_SIZE)


def training_step(model: nn.Module, batch: Tensor) -> Tensor:
    """Cross-entropy; the labels, 8 bytes an image, are made here and hold class 0."""
    labels = torch.zeros(batch.shape[0], dtype=torch.long, device=batch.device)
    return functional.cross_entropy(model(batch), labels)
