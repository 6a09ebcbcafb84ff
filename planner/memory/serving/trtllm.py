"""TensorRT-LLM: cache = a share of the memory that is free after weights and a trial step.

In: ServedModel, WeightFormat, ServingConfig, the card. Out: EngineMemory. Convention: KvCacheConfig
of the LLM API (https://nvidia.github.io/TensorRT-LLM/llm-api/reference/KvCacheConfig.html, read
2026-11-30): free_gpu_memory_fraction 0.9, tokens_per_block 32; max_num_tokens 8192, max_batch_size
2048 (BuildConfig, tensorrt_llm/builder.py at 008b2b8). The peak of the trial step is that of a
forward as vLLM's model of it has it.
"""

from __future__ import annotations

from collections.abc import Mapping

from planner.config.serving import ServingConfig
from planner.errors import UsageError
from planner.memory.kv_cache.facts import ServedModel
from planner.memory.serving.card import ServingCard
from planner.memory.serving.engine import (
    ByteSpan,
    EngineMemory,
    MemoryPart,
    PartKind,
    settings_of,
)
from planner.memory.serving.formats import WeightFormat
from planner.memory.serving.token_pool import TokenPool
from planner.memory.serving.vllm_terms import fitted_terms, forward_bytes
from planner.memory.serving.weights import rotary_bytes, weight_bytes
from planner.units import format_significant

VERSION = "1.4.0rc4"
QUANTS = ("fp8", "awq", "nvfp4", "mxfp4", "w4a16")
KV_BYTES: Mapping[str, float] = {"auto": 2, "fp8": 1, "nvfp4": 4.5 / 8}
_FRACTION, _BLOCK, _STEP_TOKENS, _BATCH = 0.9, 32, 8192, 2048


def trtllm_memory(
    model: ServedModel, weights: WeightFormat, config: ServingConfig, card: ServingCard
) -> EngineMemory:
    """Returns the memory of a start.

    Raises:
        UsageError: the model has states, whose pool is not known here.
    """
    if model.has_states:
        raise UsageError(
            "the pool of states (Mamba, delta net) of trtllm is not known here: name --engine vllm"
        )
    ranks = config.tensor_parallel
    constants = fitted_terms().constants
    tokens = config.max_num_batched_tokens or _STEP_TOKENS
    held = weight_bytes(model, weights, ranks) + rotary_bytes(model)
    peak = round(constants.forward_factor * forward_bytes(model, tokens, ranks))
    fraction = _FRACTION if config.utilization is None else config.utilization
    free = card.free_bytes - held - peak
    budget = int(fraction * free)
    length = config.max_model_len or model.longest_context
    return EngineMemory(
        version=VERSION,
        budget_bytes=budget,
        budget_words=f"{format_significant(fraction)} of what is free after weights and a step",
        parts=(
            MemoryPart(kind=PartKind.WEIGHTS, size_bytes=held, is_budgeted=False),
            MemoryPart(kind=PartKind.OUTSIDE, size_bytes=card.context_bytes, is_budgeted=False),
            MemoryPart(kind=PartKind.ACTIVATIONS, size_bytes=peak, is_budgeted=False),
        ),
        cache=ByteSpan(low=budget, middle=budget, high=budget),
        pool=TokenPool(
            layers=model.layers,
            ranks=ranks,
            element_bytes=KV_BYTES[config.kv_dtype or "auto"],
            block_tokens=_BLOCK,
        ),
        max_model_len=length,
        max_sequences=config.max_num_seqs or _BATCH,
        settings=settings_of(
            (
                "kv_cache_free_gpu_memory_fraction",
                format_significant(fraction),
                config.utilization,
            ),
            ("max_seq_len", str(length), config.max_model_len),
            ("max_num_tokens", str(tokens), config.max_num_batched_tokens),
            ("max_batch_size", str(config.max_num_seqs or _BATCH), config.max_num_seqs),
        ),
        basis=None,
    )  # fmt: skip
