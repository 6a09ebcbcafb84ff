"""RoBERTa-large, classification, 96 tokens; all weights or LoRA r=8 on query and value."""

import torch
from torch import nn
from transformers import RobertaConfig, RobertaForSequenceClassification


def build_model(lora: bool = False, attention: str = "sdpa") -> nn.Module:
    config = RobertaConfig(
        vocab_size=50265,
        hidden_size=1024,
        num_hidden_layers=24,
        num_attention_heads=16,
        intermediate_size=4096,
        max_position_embeddings=514,
        type_vocab_size=1,
        num_labels=2,
        attn_implementation=attention,
    )
    model = RobertaForSequenceClassification(config)
    if lora:
        from peft import LoraConfig, get_peft_model

        model = get_peft_model(
            model, LoraConfig(task_type="SEQ_CLS", r=8, lora_alpha=16, lora_dropout=0.1)
        )
    return model


def build_batch(batch_size: int, sequence_length: int = 96):
    ids = torch.full((batch_size, sequence_length), 5, dtype=torch.long)
    return {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "labels": torch.zeros(batch_size, dtype=torch.long),
    }


def build_optimizer(parameters):
    return torch.optim.AdamW(parameters, lr=2e-5)
