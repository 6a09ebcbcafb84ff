"""Bytes of the slots for LoRA adapters on one rank, as vLLM allocates them at its start.

In: ServedModel, ranks, a rank of adapters and their number. Out: bytes. Convention: vLLM 0.33.0,
lora/layers (create_lora_weights): for each slot two matrices at each product, of (rank, in) and
(out, rank), in 16 bits; a rank of the group has its part of the wide side, and the narrow side
whole. Each expert has its own. The vocabulary has them where the model's class says so, whole.
"""

from __future__ import annotations

from planner.memory.kv_cache.facts import ServedModel
from planner.memory.serving.roles import Role, role_of
from planner.memory.serving.weights import out_and_in, rank_sides

RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # vllm/config/lora.py, MaxLoRARanks
_BYTES = 2
_NO_ADAPTER = frozenset({Role.EMBEDDING, Role.HEAD, Role.SMALL, Role.PATCHES, Role.VISION})
# Types of models whose class names its embedding and its output layer (embedding_modules in
# vllm/model_executor/models, 0.33.0).
_WITH_VOCABULARY = frozenset(
    ("llama", "mistral", "mixtral", "qwen3", "qwen3_moe", "qwen3_5", "qwen3_5_text", "qwen3_5_moe",
     "qwen3_5_moe_text", "granite", "granitemoe", "nemotron", "nemotron_h", "exaone4", "phimoe",
     "jamba", "falcon_h1", "lfm2", "cohere", "cohere2")
)  # fmt: skip
MOST_VOCABULARY = 258_048  # lora/layers/logits_processor.py refuses larger ones


def adapter_bytes(model: ServedModel, ranks: int, *, rank: int, slots: int) -> int:
    """Returns the bytes of all slots on one of `ranks`."""
    sides = 0.0
    for tensor in model.tensors:
        role = role_of(tensor)
        if role in _NO_ADAPTER or len(tensor.shape) < 2:
            continue
        wide, narrow = out_and_in(model, role, tensor.shape[-2:])
        matrices = tensor.elements / (wide * narrow)  # layers, times experts
        slices = 2 if role is Role.EXPERT_UP and "gate_up" in tensor.name else 1
        out, into = rank_sides(model, tensor, role, ranks)
        sides += matrices * (out + slices * into)
    if has_vocabulary(model):  # the embedding, and the output layer
        sides += 2 * (model.vocabulary + model.hidden_size)
    return round(_BYTES * slots * rank * sides)


def has_vocabulary(model: ServedModel) -> bool:
    """Returns whether adapters may change the embedding and the output layer."""
    return model.model_type in _WITH_VOCABULARY
