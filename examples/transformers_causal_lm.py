"""A language model of transformers, from a configuration: nothing is downloaded.

planner estimate examples/transformers_causal_lm.py --gpu a100 --batch 4 --precision amp-bf16

With weights from the hub, AutoConfig.from_pretrained("name") gives the configuration.
"""

from __future__ import annotations

import torch
from torch import nn
from transformers import AutoModelForCausalLM, LlamaConfig


def build_model(layers: int = 16) -> nn.Module:
    config = LlamaConfig(
        vocab_size=32_000,
        hidden_size=1024,
        intermediate_size=2816,
        num_hidden_layers=layers,
        num_attention_heads=16,
        num_key_value_heads=8,
        max_position_embeddings=2048,
        use_cache=False,
    )
    return AutoModelForCausalLM.from_config(config)


def build_batch(batch_size: int, sequence_length: int = 512) -> dict[str, torch.Tensor]:
    tokens = torch.randint(0, 32_000, (batch_size, sequence_length))
    # With labels in the batch, the model computes the loss itself.
    return {
        "input_ids": tokens,
        "attention_mask": torch.ones_like(tokens),
        "labels": tokens.clone(),
    }
