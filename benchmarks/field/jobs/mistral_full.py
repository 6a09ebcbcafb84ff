"""Mistral-7B, all weights in fp16, Trainer with gradient checkpointing, 4096 tokens a sample."""

import torch
from torch import nn
from transformers import MistralConfig, MistralForCausalLM


def build_model(dtype: str = "float16", attention: str = "sdpa") -> nn.Module:
    config = MistralConfig(
        vocab_size=32000,
        hidden_size=4096,
        intermediate_size=14336,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=8,
        max_position_embeddings=32768,
        sliding_window=4096,
        attn_implementation=attention,
        use_cache=False,
    )
    torch.set_default_dtype(getattr(torch, dtype))
    model = MistralForCausalLM(config)
    torch.set_default_dtype(torch.float32)
    model.gradient_checkpointing_enable()
    return model


def build_batch(batch_size: int, sequence_length: int = 4096):
    ids = torch.zeros(batch_size, sequence_length, dtype=torch.long)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids.clone()}


def build_optimizer(parameters):
    return torch.optim.AdamW(parameters, lr=2e-5, weight_decay=0.01)
