"""Eight quantised linear layers of bitsandbytes, with or without peft's LoRA on them."""

from __future__ import annotations

import bitsandbytes as bnb
import torch
from torch import nn

LAYERS, WIDTH = 8, 1024
RANK = 16


def _layer(bits: int) -> nn.Module:
    if bits == 4:
        return bnb.nn.Linear4bit(
            WIDTH, WIDTH, bias=False, compute_dtype=torch.float16, quant_type="nf4",
            compress_statistics=True,
        )  # fmt: skip
    if bits == 8:
        return bnb.nn.Linear8bitLt(WIDTH, WIDTH, bias=False, has_fp16_weights=False)
    return nn.Linear(WIDTH, WIDTH, bias=False)


def build_model(bits: int = 4, lora: bool = False) -> nn.Module:
    layers = {f"layer{index}": _layer(bits) for index in range(LAYERS)}
    model: nn.Module = nn.Sequential()
    for name, layer in layers.items():
        model.add_module(name, layer)
    if not lora:
        return nn.Sequential(model, nn.Linear(WIDTH, 1, bias=False))
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=RANK, lora_alpha=RANK, lora_dropout=0.0, target_modules=list(layers))
    adapted: nn.Module = get_peft_model(model, config)
    return adapted


def build_batch(batch_size: int) -> torch.Tensor:
    return torch.zeros(batch_size, WIDTH)
