"""Model file of the benchmark of fms-acceleration: Mistral-7B, full, with LoRA or with QLoRA.

This file repeats the measured runs: transformers' Trainer with activation checkpointing, samples of
exactly 4096 tokens without padding, all weights in float16, NF4 for QLoRA with adapters in float32.
transformers and peft are of the time of the measurement, in which each layer had tables of cosines
and sines for 32768 positions, and adapters had the dtype of the weights. FlashAttention was a
package of its own; torch's flash kernel keeps the same tensors. The Trainer drops the output once
it has the loss. Source of the procedure:
https://github.com/foundation-model-stack/fms-acceleration, scripts/benchmarks (defaults.yaml and
scenarios.yaml).
"""

from __future__ import annotations

from typing import Any

import bitsandbytes
import torch
import transformers
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn

SEQUENCE_TOKENS = 4096


def build_model(name: str) -> nn.Module:
    """Builds Mistral-7B for `full`, `lora` or `qlora`."""
    torch.set_default_dtype(torch.float16)
    network = transformers.MistralForCausalLM(mistral_7b())
    torch.set_default_dtype(torch.float32)
    if name == "qlora":
        quantise(network)
        network.requires_grad_(False)
    network.gradient_checkpointing_enable()
    if name == "full":
        return _module(network).train()
    network.enable_input_require_grads()
    adapters = LoraConfig(
        r=16,
        lora_alpha=16,
        lora_dropout=0.0,
        target_modules=["q_proj", "k_proj", "v_proj", "o_proj"],
        task_type="CAUSAL_LM",
    )
    return _module(get_peft_model(network, adapters)).train()


def build_batch(batch_size: int) -> Tensor:
    """Draws token ids, (batch, 4096)."""
    return torch.randint(0, 32_000, (batch_size, SEQUENCE_TOKENS))


def training_step(model: nn.Module, batch: Tensor, optimizer: torch.optim.Optimizer) -> Tensor:
    """Does one step of the Trainer and returns the loss without its graph, as the Trainer keeps it.

    The graph would hold the output of the embedding and its gradient. The few bytes of the
    GradScaler are left out.
    """
    loss: Tensor = model(input_ids=batch, labels=batch.clone()).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
    return loss.detach()


def build_optimizer(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    """Builds the Trainer's AdamW."""
    trained = [one for one in parameters if one.requires_grad]
    return torch.optim.AdamW(trained, lr=2e-4, weight_decay=0.01)


def mistral_7b() -> transformers.MistralConfig:
    """https://huggingface.co/mistralai/Mistral-7B-v0.1/blob/main/config.json, 7,241,732,096."""
    return transformers.MistralConfig(
        vocab_size=32000,
        hidden_size=4096,
        intermediate_size=14336,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=8,
        max_position_embeddings=32768,
        sliding_window=None,  # 4096: all that a sample has
        use_cache=False,
        attn_implementation="sdpa",
    )


def quantise(module: nn.Module) -> None:
    """Replaces linear layers by NF4 ones with quantised scales, but for the head."""
    for name, child in module.named_children():
        if isinstance(child, nn.Linear) and name != "lm_head":
            replaced = bitsandbytes.nn.Linear4bit(
                child.in_features,
                child.out_features,
                bias=False,
                compute_dtype=torch.float16,
                quant_type="nf4",
                compress_statistics=True,
            )
            setattr(module, name, replaced)
        else:
            quantise(child)


def _module(built: Any) -> nn.Module:
    """Returns the network with its type: the libraries are not typed."""
    assert isinstance(built, nn.Module)
    return built
