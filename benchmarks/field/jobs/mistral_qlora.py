"""Mistral-7B in NF4 (bitsandbytes) with LoRA r=16 on q, k, v, o, fp16 autocast, gradient checkpointing."""

import bitsandbytes as bnb
import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import MistralConfig, MistralForCausalLM


def quantise(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, nn.Linear) and name != "lm_head":
            new = bnb.nn.Linear4bit(
                child.in_features,
                child.out_features,
                bias=False,
                compute_dtype=torch.float16,
                quant_type="nf4",
                compress_statistics=True,
            )
            setattr(module, name, new)
        else:
            quantise(child)


def build_model(layers: int = 32) -> nn.Module:
    config = MistralConfig(
        vocab_size=32000,
        hidden_size=4096,
        intermediate_size=14336,
        num_hidden_layers=layers,
        num_attention_heads=32,
        num_key_value_heads=8,
        max_position_embeddings=32768,
        sliding_window=4096,
        attn_implementation="sdpa",
        use_cache=False,
    )
    torch.set_default_dtype(torch.float16)
    model = MistralForCausalLM(config)
    torch.set_default_dtype(torch.float32)
    quantise(model)
    model.requires_grad_(False)
    model.gradient_checkpointing_enable()
    model.enable_input_require_grads()
    lora = LoraConfig(
        r=16,
        lora_alpha=16,
        lora_dropout=0.0,
        target_modules=["q_proj", "k_proj", "v_proj", "o_proj"],
        task_type="CAUSAL_LM",
    )
    return get_peft_model(model, lora)


def build_batch(batch_size: int, sequence_length: int = 4096):
    ids = torch.zeros(batch_size, sequence_length, dtype=torch.long)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids.clone()}


def build_optimizer(parameters):
    return torch.optim.AdamW(parameters, lr=2e-4, weight_decay=0.01)
