"""meta-llama/Llama-3.2-1B as a model file: change it, then run `planner estimate` on it.

Config: https://github.com/kevinstephano/thunder_model_blocks, hf_llama/llama_config.py
(eos_token_id); https://github.com/mlc-ai/mlc-llm, python/mlc_llm/model/model_preset.py at 79d603f,
preset llama3_2_1b, read on 2026-11-28.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM

CONFIG = {
    "model_type": "llama",
    "attention_bias": False,
    "attention_dropout": 0.0,
    "bos_token_id": 128000,
    "eos_token_id": 128001,
    "head_dim": 64,
    "hidden_act": "silu",
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "max_position_embeddings": 131072,
    "mlp_bias": False,
    "num_attention_heads": 32,
    "num_hidden_layers": 16,
    "num_key_value_heads": 8,
    "rms_norm_eps": 1e-05,
    "rope_scaling": {
        "factor": 32.0,
        "high_freq_factor": 4.0,
        "low_freq_factor": 1.0,
        "original_max_position_embeddings": 8192,
        "rope_type": "llama3",
    },
    "rope_theta": 500000.0,
    "tie_word_embeddings": True,
    "use_cache": True,
    "vocab_size": 128256,
}
TOKENS = 2048


def build_model() -> nn.Module:
    """Builds the model from its config alone, with the weights' published dtype."""
    config = AutoConfig.for_model(**CONFIG)
    config.use_cache = False
    return AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)


def build_batch(batch_size: int, sequence_length: int = TOKENS) -> dict[str, Tensor]:
    """Makes samples without padding."""
    ids = torch.randint(1, 128256, (batch_size, sequence_length))
    return {"input_ids": ids, "labels": ids.clone()}


def training_step(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """Returns the loss alone, so that the logits end with it."""
    return model(**batch).loss


def build_optimizer(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    """Builds the optimizer that the Trainer of transformers takes."""
    return torch.optim.AdamW(parameters, fused=True)
