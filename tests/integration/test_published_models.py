"""Whole answers on published models: as a model file that builds the same gives them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import planner

pytestmark = pytest.mark.slow

LLAMA = {
    "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 256,
    "intermediate_size": 512, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": 1000, "max_position_embeddings": 512,
    "torch_dtype": "bfloat16",
}  # fmt: skip
BY_HAND = """
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torchvision.models import resnet18


def build_model() -> nn.Module:
    return resnet18()


def build_batch(batch_size):
    return torch.zeros(batch_size, 3, 224, 224), torch.zeros(batch_size, dtype=torch.int64)


def training_step(model, batch):
    images, classes = batch
    return cross_entropy(model(images), classes)


def build_optimizer(parameters):
    return torch.optim.AdamW(parameters, fused=True)
"""


def test_torchvision_is_as_the_model_file_that_does_the_same(tmp_path: Path) -> None:
    file = tmp_path / "by_hand.py"
    file.write_text(BY_HAND)
    published = planner.estimate("torchvision:resnet18", gpu="t4", max_batch=False)
    by_hand = planner.estimate(str(file), gpu="t4", max_batch=False)
    assert published.target == "torchvision:resnet18"
    assert dict(published.model_arguments) == {"task": "finetune"}
    assert published.gpus[0].peak_allocated_bytes == by_hand.gpus[0].peak_allocated_bytes
    assert published.gpus[0].peak_reserved_bytes == by_hand.gpus[0].peak_reserved_bytes


def test_lora_of_a_language_model(tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="install 'vram-planner[hf]' to run this")
    pytest.importorskip("peft")
    (tmp_path / "config.json").write_text(json.dumps(LLAMA))
    found = planner.estimate(
        f"hf:{tmp_path}", gpu="t4", task="lora", lora_rank=4, batch_size=2, sequence_length=128
    )
    card = found.gpus[0]
    assert card.fits
    assert card.max_batch_size is not None
    assert card.max_batch_size > 2
    assert found.counts is not None
    # q_proj and v_proj of two layers: 4 x 256 and 256 x 4, 4 x 256 and 128 x 4
    assert found.counts.trainable_parameters == 2 * (4 * 256 + 256 * 4 + 4 * 256 + 128 * 4)
    assert found.values.reads == ()
