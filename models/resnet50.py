"""ResNet-50 for 224 x 224 images and 1000 classes: 25,557,032 parameters.

The "v1.5" form, with the stride in the 3 x 3 convolution of a bottleneck.
Source: He, Zhang, Ren, Sun 2015, https://arxiv.org/abs/1512.03385
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

EXPANSION = 4  # channels leaving a bottleneck per channel inside


class Bottleneck(nn.Module):
    """1 x 1, 3 x 3 and 1 x 1 convolution around a shortcut."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = width * EXPANSION
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        out += self.shortcut(x)
        return self.relu(out)


class ResNet(nn.Module):
    """A stem, four stages of bottlenecks, global average pooling and a linear classifier."""

    def __init__(self, blocks: tuple[int, ...] = (3, 4, 6, 3), classes: int = 1000) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 64, 7, 2, padding=3, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, 2, padding=1),
        )
        inputs = 64
        stages: list[nn.Module] = []
        for stage, count in enumerate(blocks):
            width = 64 * 2**stage
            for index in range(count):
                stride = 2 if stage > 0 and index == 0 else 1
                stages.append(Bottleneck(inputs, width, stride))
                inputs = width * EXPANSION
        self.stages = nn.Sequential(*stages)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(inputs, classes)

    def forward(self, images: Tensor) -> Tensor:
        features = self.stages(self.stem(images))
        return self.classifier(self.pool(features).flatten(1))


def build_model() -> nn.Module:
    """ResNet-50."""
    return ResNet()


def build_batch(batch_size: int, image_size: int = 224) -> Tensor:
    """Images, (batch, 3, image_size, image_size)."""
    return torch.randn(batch_size, 3, image_size, image_size)


def training_step(model: nn.Module, batch: Tensor) -> Tensor:
    """Cross-entropy; the labels, 8 bytes an image, are made here and hold class 0."""
    labels = torch.zeros(batch.shape[0], dtype=torch.long, device=batch.device)
    return functional.cross_entropy(model(batch), labels)
