"""torchvision's Faster R-CNN on COCO-like images: 800 x 1333, 7 boxes a picture."""

import torch
from torch import nn
from torchvision.models import detection


def build_model(name: str = "fasterrcnn_resnet50_fpn") -> nn.Module:
    return getattr(detection, name)(weights=None, weights_backbone=None, num_classes=91)


def build_batch(batch_size: int):
    boxes = torch.tensor([[50.0 * i, 40.0 * i, 50.0 * i + 200, 40.0 * i + 300] for i in range(7)])
    return {
        "images": [torch.rand(3, 800, 1333) for _ in range(batch_size)],
        "targets": [
            {"boxes": boxes.clone(), "labels": torch.ones(7, dtype=torch.long)}
            for _ in range(batch_size)
        ],
    }


def training_step(model, batch):
    return sum(model(batch["images"], batch["targets"]).values())


def build_optimizer(parameters):
    return torch.optim.SGD(parameters, lr=0.02, momentum=0.9, weight_decay=1e-4)
