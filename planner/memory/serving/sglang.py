"""SGLang: cache = memory-fraction-static x free memory - weights.

In: ServedModel, WeightFormat, ServingConfig, the card. Out: EngineMemory. Convention: read in the
published wheel of 0.5.23: arg_groups/memory_hook.py (handle_gpu_memory_settings) for the default
of the fraction, mem_cache/kv_cache_configurator.py (_profile_available_bytes) for its use. Free
memory is that before the model is loaded: all but the CUDA context.
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
from planner.memory.serving.weights import rotary_bytes, weight_bytes
from planner.units import GIB, MIB, format_significant

VERSION = "0.5.23"
QUANTS = ("fp8", "int8", "awq", "gptq", "w4a16", "nvfp4", "mxfp4", "nf4")
KV_BYTES: Mapping[str, float] = {"auto": 2, "bf16": 2, "fp8_e5m2": 1, "fp8_e4m3": 1}
_WINDOW_SHARE = 0.8  # --swa-full-tokens-ratio
# Below this memory in GiB: tokens of a chunk of prefill, decode batches in graphs below and from
# 4 ranks on.
_TIERS = ((20, 2048, 8, 8), (35, 4096, 48, 160), (60, 4096, 32, 160), (160, 8192, 256, 512))
_LARGEST = (16384, 512, 512)
_LARGE_CARD_GIB, _LARGE_RESERVE_MIB = 60, 10 * 1024


def sglang_memory(
    model: ServedModel, weights: WeightFormat, config: ServingConfig, card: ServingCard
) -> EngineMemory:
    """Returns the memory of a start.

    Raises:
        UsageError: the model has states, whose share of the cache is not known here.
    """
    if model.has_states:
        raise UsageError(
            "sglang divides its cache between states and tokens by a rule that is not known here, "
            "and the model has states (Mamba, delta net): name --engine vllm"
        )
    ranks = config.tensor_parallel
    chunk, graph_batches = _defaults(card, ranks)
    chunk = config.max_num_batched_tokens or chunk
    reserve_mib = _reserve_mib(card, ranks, chunk, 0 if config.enforce_eager else graph_batches)
    fraction = config.utilization
    if fraction is None:
        fraction = round(1 - reserve_mib * MIB / card.total_bytes, 3)
    free = card.free_bytes
    budget = int(fraction * free)
    held = weight_bytes(model, weights, ranks) + rotary_bytes(model)
    cache = budget - held
    length = config.max_model_len or model.longest_context
    return EngineMemory(
        version=VERSION,
        budget_bytes=budget,
        budget_words=f"{format_significant(fraction)} of free memory, for weights and cache",
        parts=(
            MemoryPart(kind=PartKind.WEIGHTS, size_bytes=held),
            MemoryPart(
                kind=PartKind.OUTSIDE, size_bytes=card.context_bytes, is_budgeted=False
            ),
            MemoryPart(
                kind=PartKind.ACTIVATIONS, size_bytes=free - budget, is_budgeted=False
            ),
        ),
        cache=ByteSpan(low=cache, middle=cache, high=cache),
        pool=TokenPool(
            layers=model.layers,
            ranks=ranks,
            element_bytes=KV_BYTES[config.kv_dtype or "auto"],
            window_share=_WINDOW_SHARE,
        ),
        max_model_len=length,
        max_sequences=config.max_num_seqs,
        settings=settings_of(
            ("mem-fraction-static", format_significant(fraction), config.utilization),
            ("context-length", str(length), config.max_model_len),
            ("chunked-prefill-size", str(chunk), config.max_num_batched_tokens),
        ),
        basis=None,
        notes=("activations: what the fraction leaves free for steps and CUDA graphs",),
    )  # fmt: skip


def _defaults(card: ServingCard, ranks: int) -> tuple[int, int]:
    """Returns the tokens of a chunk of prefill and the largest decode batch in a graph."""
    for below_gib, chunk, few, many in _TIERS:
        if card.total_bytes < below_gib * GIB:
            return chunk, few if ranks < 4 else many
    return _LARGEST[0], _LARGEST[1] if ranks < 4 else _LARGEST[2]


def _reserve_mib(card: ServingCard, ranks: int, chunk: int, graph_batches: int) -> float:
    """Returns the MiB that the default fraction leaves free (without graphs of prefill)."""
    reserve = 512 + 1.5 * max(chunk, 2048) + ranks / 8 * 1024 + 2 * graph_batches
    if card.total_bytes > _LARGE_CARD_GIB * GIB:
        return max(reserve, _LARGE_RESERVE_MIB)
    return reserve
