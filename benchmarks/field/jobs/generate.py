"""Inference as people serve it: generate() of 256 new tokens after a prompt of 1024, Llama-3.2-1B's shape, bf16."""

import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM


class Generate(nn.Module):
    def __init__(self, new: int, layers: int) -> None:
        super().__init__()
        self.new = new
        self.model = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=128256,
                hidden_size=2048,
                intermediate_size=8192,
                num_hidden_layers=layers,
                num_attention_heads=32,
                num_key_value_heads=8,
                max_position_embeddings=131072,
                rope_theta=500000.0,
                tie_word_embeddings=True,
                eos_token_id=128001,
                pad_token_id=128001,
            )
        )

    def forward(self, input_ids, attention_mask):
        return self.model.generate(
            input_ids=input_ids,
            attention_mask=attention_mask,
            max_new_tokens=self.new,
            do_sample=False,
        )


def build_model(new: int = 256, layers: int = 16) -> nn.Module:
    return Generate(new, layers)


def build_batch(batch_size: int, sequence_length: int = 1024):
    ids = torch.full((batch_size, sequence_length), 11, dtype=torch.long)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
