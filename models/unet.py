"""Denoising diffusion U-Net for 32 x 32 images (the CIFAR-10 model of DDPM): 35,746,307 parameters.

Four resolutions, two residual blocks each, time embedding, group norm, attention at 16 x 16.
Source: Ho, Jain, Abbeel 2020, https://arxiv.org/abs/2006.11239
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

IMAGE_SIZE = 32
BASE = 128  # channels at full resolution
MULTIPLIERS = (1, 2, 2, 2)  # of BASE, from fine to coarse
ATTENTION_LEVEL = 1  # 16 x 16
TIME_WIDTH = 4 * BASE
TIMESTEPS = 1000


def norm(channels: int) -> nn.GroupNorm:
    """Group norm over 32 groups."""
    return nn.GroupNorm(32, channels, eps=1e-6)


class Residual(nn.Module):
    """Two convolutions around a shortcut, the time embedding added between them."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.before = nn.Sequential(
            norm(inputs), nn.SiLU(), nn.Conv2d(inputs, outputs, 3, padding=1)
        )
        self.time = nn.Sequential(nn.SiLU(), nn.Linear(TIME_WIDTH, outputs))
        self.after = nn.Sequential(
            norm(outputs), nn.SiLU(), nn.Dropout(0.1), nn.Conv2d(outputs, outputs, 3, padding=1)
        )
        self.shortcut = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        hidden = self.before(x) + self.time(time)[:, :, None, None]
        return self.shortcut(x) + self.after(hidden)


class Attention(nn.Module):
    """Single-head attention over all pixels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = norm(channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.project = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        # Fused attention wants the channels of a pixel next to each other.
        qkv = self.qkv(self.norm(x)).flatten(2).transpose(1, 2).contiguous()
        query, key, value = qkv.unsqueeze(1).chunk(3, dim=-1)
        mixed = functional.scaled_dot_product_attention(query, key, value)
        return x + self.project(mixed.squeeze(1).transpose(1, 2).reshape(x.shape))


class Stage(nn.Module):
    """A residual block and, at the attention level, attention."""

    def __init__(self, inputs: int, outputs: int, attention: bool) -> None:
        super().__init__()
        self.residual = Residual(inputs, outputs)
        self.attention = Attention(outputs) if attention else nn.Identity()

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        return self.attention(self.residual(x, time))


class UNet(nn.Module):
    """Noisy images (batch, 3, height, width) and timesteps (batch,) to the noise predicted."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Sequential(
            nn.Linear(BASE, TIME_WIDTH), nn.SiLU(), nn.Linear(TIME_WIDTH, TIME_WIDTH)
        )
        self.enter = nn.Conv2d(3, BASE, 3, padding=1)
        channels, skips = BASE, [BASE]
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        last = len(MULTIPLIERS) - 1
        for level, multiplier in enumerate(MULTIPLIERS):
            for _ in range(2):
                self.down.append(Stage(channels, BASE * multiplier, level == ATTENTION_LEVEL))
                channels = BASE * multiplier
                skips.append(channels)
            if level < last:
                self.down.append(nn.Conv2d(channels, channels, 3, 2, padding=1))
                skips.append(channels)
        self.middle = nn.ModuleList(
            [Stage(channels, channels, attention=True), Stage(channels, channels, attention=False)]
        )
        for level, multiplier in reversed(list(enumerate(MULTIPLIERS))):
            for _ in range(3):
                outputs = BASE * multiplier
                self.up.append(Stage(channels + skips.pop(), outputs, level == ATTENTION_LEVEL))
                channels = outputs
            if level > 0:
                upsample = nn.Upsample(scale_factor=2)
                self.up.append(nn.Sequential(upsample, nn.Conv2d(channels, channels, 3, padding=1)))
        self.leave = nn.Sequential(norm(channels), nn.SiLU(), nn.Conv2d(channels, 3, 3, padding=1))

    def forward(self, images: Tensor, timesteps: Tensor) -> Tensor:
        time = self.embed(sinusoids(timesteps).to(images.dtype))
        x = self.enter(images)
        skips = [x]
        for layer in self.down:
            x = layer(x, time) if isinstance(layer, Stage) else layer(x)
            skips.append(x)
        for stage in self.middle:
            x = stage(x, time)
        for layer in self.up:
            if isinstance(layer, Stage):
                x = layer(torch.cat([x, skips.pop()], dim=1), time)
            else:
                x = layer(x)
        return self.leave(x)


def sinusoids(timesteps: Tensor) -> Tensor:
    """Sines and cosines (batch, BASE) of the timesteps at geometric frequencies."""
    steps = torch.arange(BASE // 2, device=timesteps.device, dtype=torch.float32)
    angles = timesteps[:, None] * torch.exp(steps * -(math.log(10_000) / (BASE // 2 - 1)))
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def build_model() -> nn.Module:
    """The CIFAR-10 model of DDPM."""
    return UNet()


def build_batch(batch_size: int, image_size: int = IMAGE_SIZE) -> tuple[Tensor, Tensor]:
    """Images (batch, 3, image_size, image_size) and timesteps (batch,)."""
    images = torch.randn(batch_size, 3, image_size, image_size)
    return images, torch.randint(0, TIMESTEPS, (batch_size,))


def training_step(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    """Add noise by the linear schedule and return the mean squared error of its prediction."""
    images, timesteps = batch
    betas = torch.linspace(1e-4, 0.02, TIMESTEPS, device=images.device)
    signal = (1 - betas).cumprod(0)[timesteps][:, None, None, None].to(images.dtype)
    noise = torch.randn_like(images)
    noisy = signal.sqrt() * images + (1 - signal).sqrt() * noise
    return functional.mse_loss(model(noisy, timesteps), noise)
