"""Model file of milabench's BERT and ConvNeXt: built from configurations, trained on random data.

This file repeats the benchmark: BERT for masked language modelling with every default
of its configuration, 512 tokens, Adam, gradients never zeroed (which holds what set_to_none=False
holds); ConvNeXt large of torchvision, SGD without momentum, images in float16 under autocast. The
step itself enters autocast and scales the loss. Source of the procedure:
https://github.com/mila-iqia/milabench (benchmarks/torchvision/main.py at 009a857,
benchmarks/huggingface/bench at 04329f6)
"""

from __future__ import annotations

from typing import Any

import torch
import torchvision
import transformers
from torch import Tensor, nn
from torch.nn import functional

transformers.logging.set_verbosity_error()

TOKENS = 512
VOCABULARY = 30522
CLASSES = 1000

_held: list[Any] = []
_name = ""
_half_images = False


def build_model(name: str, tf32: bool, half_images: bool) -> nn.Module:
    """Builds `bert-base` or `convnext_large`; TF32 changes only the workspaces of convolutions."""
    global _name, _half_images  # build_batch gets only the size of the batch
    _name, _half_images = name, half_images
    torch.backends.cuda.matmul.allow_tf32 = tf32
    torch.backends.cudnn.allow_tf32 = tf32
    if name == "bert-base":
        config = transformers.BertConfig()
        built = transformers.AutoModelForMaskedLM.from_config(config)
    else:
        built = getattr(torchvision.models, name)()
    assert isinstance(built, nn.Module)
    return built


def build_batch(batch_size: int) -> tuple[Tensor, Tensor]:
    """Draws token ids and labels, or images and targets."""
    if _name == "bert-base":
        shape = (batch_size, TOKENS)
        return torch.randint(0, VOCABULARY, shape), torch.randint(0, VOCABULARY, shape)
    dtype = torch.float16 if _half_images else torch.float32
    images = torch.randn(batch_size, 3, 224, 224, dtype=dtype)
    return images, torch.randint(0, CLASSES, (batch_size,))


def training_step(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    """Returns the loss. BERT's outputs, with the logits, live through backward, as measured."""
    inputs, targets = batch
    if _name == "bert-base":
        _held.clear()
        _held.append(model(input_ids=inputs, labels=targets))
        loss: Tensor = _held[0].loss
        return loss
    return functional.cross_entropy(model(inputs), targets)


def build_optimizer(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    """Builds Adam for BERT, SGD for ConvNeXt."""
    if _name == "bert-base":
        return torch.optim.Adam(parameters, lr=1e-3)
    return torch.optim.SGD(parameters, lr=0.01)
