"""Model file of vramcalc's bench: Llama-3.2-1B and Llama-3.1-8B, full or with LoRA, 2048 tokens.

This file repeats the measuring script: weights in bfloat16, or in float32 under autocast to
bfloat16; LoRA of rank 16 on the four projections of attention, in float32; activation checkpointing
per layer without re-entry; attention memory-efficient or flash around forward and backward; ids
drawn on the card; gradients filled with zeros after the step, and the loss and the output deleted
before it. Source of the procedure: https://github.com/sacom123/vramcalc, README at 0.1.2.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
import transformers
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

ATTENTION_BACKENDS = [SDPBackend.EFFICIENT_ATTENTION, SDPBackend.FLASH_ATTENTION]
SEQUENCE_TOKENS = 2048

_options = {"amp": False}


def build_model(name: str, lora: bool, amp: bool, checkpointed: bool) -> nn.Module:
    """Builds a network by its name; `lora` freezes it and adds adapters."""
    _options["amp"] = amp
    dtype = torch.float32 if amp else torch.bfloat16
    network = transformers.AutoModelForCausalLM.from_config(CONFIGS[name](), dtype=dtype)
    network.config.use_cache = False
    if checkpointed:
        network.gradient_checkpointing_enable(
            gradient_checkpointing_kwargs={"use_reentrant": False}
        )
    if lora:
        adapters = LoraConfig(
            r=16,
            lora_alpha=16,
            target_modules=["q_proj", "k_proj", "v_proj", "o_proj"],
            task_type="CAUSAL_LM",
        )
        if checkpointed:
            network.enable_input_require_grads()
        network = get_peft_model(network, adapters)
    return _module(network).train()


def build_batch(batch_size: int) -> Tensor:
    """Returns only the size of the batch: the step draws its own ids on the card."""
    return torch.zeros(batch_size, dtype=torch.int64)


def build_optimizer(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    """Builds AdamW of the trainable weights with foreach."""
    trained = [one for one in parameters if one.requires_grad]
    return torch.optim.AdamW(trained, lr=1e-5, foreach=True)


def training_step(model: nn.Module, batch: Tensor, optimizer: torch.optim.Optimizer) -> None:
    """Does one step of the script."""
    shape = (batch.shape[0], SEQUENCE_TOKENS)
    ids = torch.randint(0, 128_000, shape, device=batch.device)
    amp = torch.autocast("cuda", torch.bfloat16) if _options["amp"] else nullcontext()
    with sdpa_kernel(ATTENTION_BACKENDS):
        with amp:
            output = model(input_ids=ids, labels=ids)
            loss = output.loss
        loss.backward()
    del loss, output
    optimizer.step()
    optimizer.zero_grad(set_to_none=False)


def llama_1b() -> transformers.LlamaConfig:
    """Llama-3.2-1B, 1,235,814,400 parameters: https://arxiv.org/abs/2407.21783."""
    return _llama(
        hidden_size=2048, intermediate_size=8192, num_hidden_layers=16, tie_word_embeddings=True
    )


def llama_8b() -> transformers.LlamaConfig:
    """Llama-3.1-8B, 8,030,261,248 parameters: the same source."""
    return _llama(
        hidden_size=4096, intermediate_size=14336, num_hidden_layers=32, tie_word_embeddings=False
    )


CONFIGS = {"llama-3.2-1b": llama_1b, "llama-3.1-8b": llama_8b}


def _llama(**sizes: Any) -> transformers.LlamaConfig:
    return transformers.LlamaConfig(
        vocab_size=128256,
        num_attention_heads=32,
        num_key_value_heads=8,
        max_position_embeddings=131072,
        rms_norm_eps=1e-5,
        rope_theta=500_000.0,
        rope_scaling={
            "rope_type": "llama3",
            "factor": 32.0 if sizes["tie_word_embeddings"] else 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192,
        },
        **sizes,
    )


def _module(built: Any) -> nn.Module:
    """Returns the network with its type: the libraries are not typed."""
    assert isinstance(built, nn.Module)
    return built
