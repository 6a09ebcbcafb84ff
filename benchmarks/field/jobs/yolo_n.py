"""YOLOv8n at 640 with its own loss, 10 boxes a picture."""

from types import SimpleNamespace

import torch
from torch import nn
from ultralytics.nn.tasks import DetectionModel


def build_model(cfg: str = "yolov8n.yaml") -> nn.Module:
    model = DetectionModel(cfg, nc=80, verbose=False)
    model.args = SimpleNamespace(box=7.5, cls=0.5, dfl=1.5, overlap_mask=True)
    return model


def build_batch(batch_size: int):
    n = 10 * batch_size
    return {
        "img": torch.rand(batch_size, 3, 640, 640),
        "batch_idx": torch.arange(batch_size).repeat_interleave(10).float(),
        "cls": torch.zeros(n, 1),
        "bboxes": torch.rand(n, 4) * 0.4 + 0.3,
    }


def training_step(model, batch):
    loss, _ = model.loss(batch)
    return loss.sum()


def build_optimizer(parameters):
    return torch.optim.SGD(parameters, lr=0.01, momentum=0.937, nesterov=True)
