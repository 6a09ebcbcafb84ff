"""A generation on the emulated card: the sum of weights, cache and activations, and what ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import planner
from planner.units import MIB

pytestmark = pytest.mark.slow

# As Llama-3.1-8B, with 2 of its 32 layers.
LLAMA = {
    "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 4096,
    "intermediate_size": 14336, "num_hidden_layers": 2, "num_attention_heads": 32,
    "num_key_value_heads": 8, "vocab_size": 128256, "max_position_embeddings": 131072,
    "torch_dtype": "bfloat16", "eos_token_id": 128001,
}  # fmt: skip
MODEL_FILE = """
import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

TINY = LlamaConfig(
    vocab_size=512, hidden_size=64, intermediate_size=128, num_hidden_layers=2,
    num_attention_heads=4, num_key_value_heads=2, eos_token_id=2, pad_token_id=2,
)


def build_model() -> nn.Module:
    return LlamaForCausalLM(TINY)


def build_batch(batch_size):
    ids = torch.full((batch_size, 32), 11)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def inference_step(model, batch):
    return model.generate(**batch, max_new_tokens=40, do_sample=False)
"""


@pytest.fixture(autouse=True)
def _needs_transformers() -> None:
    pytest.importorskip("transformers", reason="install 'vram-planner[hf]' to run this")


def test_a_generation_is_the_sum_of_weights_cache_and_activations(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(LLAMA))
    found = planner.estimate(
        f"hf:{tmp_path}", mode="generate", new_tokens=256, gpu="h100", batch_size=8,
        sequence_length=2048, max_batch=False, cache=False,
    )  # fmt: skip
    card = found.gpus[0]
    rows = 8 * 2048
    weights = 2 * (2 * 128256 * 4096 + 4096)  # embedding, output layer, norm
    weights += 2 * 2 * (4096 * (2 * 4096 + 2 * 1024) + 3 * 4096 * 14336 + 2 * 4096)
    cache = 2 * 2 * rows * 8 * 128 * 2  # keys and values, two layers, eight heads of 128
    wide, narrow = rows * 14336 * 2, rows * 4096 * 2  # the MLP of the last layer, hidden states
    by_hand = weights + cache + 3 * wide + 4 * narrow + 32 * MIB  # and cuBLAS's workspace
    assert card.peak_allocated_bytes == pytest.approx(by_hand, rel=0.01)
    assert card.breakdown is not None
    assert card.breakdown.by_category()["cache"] == cache
    time = card.time
    assert time is not None
    assert time.first_token_s is not None
    assert time.token_s is not None
    assert time.step_s == pytest.approx(time.first_token_s + 255 * time.token_s)
    assert time.new_tokens_per_s == pytest.approx(8 * 256 / time.step_s)


def test_generate_of_a_model_file_ends_with_its_length(tmp_path: Path) -> None:
    file = tmp_path / "net.py"
    file.write_text(MODEL_FILE)
    found = planner.estimate(
        str(file), mode="infer", gpu="t4", batch_size=4, max_batch=False, cache=False
    )
    assert any("no sequence ends before its greatest length" in one for one in found.assumptions)
    cache = found.gpus[0].breakdown
    assert cache is not None
    # The peak is in the prompt: keys and values of 2 layers with 2 heads of 16 in float32.
    assert cache.by_category()["cache"] == 2 * 2 * 4 * 32 * 2 * 16 * 4
    assert not found.values.are_decided
