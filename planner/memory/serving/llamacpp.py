"""llama.cpp: weights of a GGUF file, the cache of the whole context, and a buffer to compute in.

In: ServedModel, a mixture of GGUF, ServingConfig, the card. Out: EngineMemory. Convention: all
layers on the card (--n-gpu-layers), flash attention on; the context (--ctx-size) is divided over
the slots (--parallel) and allocated at the start. src/llama-kv-cache-iswa.cpp
at 02c28f5: a window keeps its own tokens for each slot and those of a micro-batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil

from planner.config.serving import ServingConfig
from planner.errors import UsageError
from planner.memory.kv_cache.facts import ServedModel
from planner.memory.kv_cache.layers import CacheLayers, LayerKind
from planner.memory.serving.card import ServingCard
from planner.memory.serving.engine import (
    ByteSpan,
    EngineMemory,
    MemoryPart,
    PartKind,
    settings_of,
)
from planner.memory.serving.gguf import gguf_bytes
from planner.memory.serving.token_pool import longest_request
from planner.memory.serving.weights import gguf_model

VERSION = "02c28f5"  # commit
# Bits of an element by --cache-type-k and -v (common/arg.cpp): sizes of blocks as in gguf.py.
KV_BYTES: Mapping[str, float] = {
    "f32": 4, "f16": 2, "bf16": 2, "q8_0": 8.5 / 8, "q5_1": 6 / 8, "q5_0": 5.5 / 8, "q4_1": 5 / 8,
    "q4_0": 4.5 / 8, "iq4_nl": 4.5 / 8,
}  # fmt: skip
_MICRO_BATCH = 512  # --ubatch-size
_FLOAT_BYTES, _MASK_BYTES = 4, 2
_PADDING = 256  # tokens to whose multiple a cache is filled up


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextPool:
    """A cache of `slots` requests of the same length."""

    layers: tuple[CacheLayers, ...]
    element_bytes: float
    slots: int

    def request_bytes(self, length: int) -> int:
        """Returns the bytes of one slot for a request of `length` tokens."""
        return sum(self._layer_bytes(layer, length) for layer in self.layers)

    def _layer_bytes(self, layer: CacheLayers, length: int) -> int:
        if layer.state is not None:
            return layer.count * layer.state.rank_bytes(1, _FLOAT_BYTES)
        kept = length
        if layer.kind is LayerKind.WINDOW:
            assert layer.window is not None, "a window has a size"
            kept = min(length, layer.window + _MICRO_BATCH)
        whole = ceil(kept / _PADDING) * _PADDING
        return layer.count * whole * layer.token_bytes(1, self.element_bytes)

    def requests_at_once(self, cache_bytes: int, length: int) -> float:
        """Returns how many slots of `length` tokens the memory holds."""
        return max(0, cache_bytes) / self.request_bytes(length)

    def tokens(self, cache_bytes: int, length: int) -> int:
        """Returns the tokens of requests of `length` that the memory holds."""
        return int(self.requests_at_once(cache_bytes, length) * length)

    def longest(self, cache_bytes: int, limit: int) -> int:
        """Returns the longest request that fits beside the other slots, up to `limit`."""
        return longest_request(self.request_bytes, cache_bytes // self.slots, limit)


def compute_bytes(model: ServedModel, context: int) -> int:
    """Returns the bytes of the compute buffer for a micro-batch, in float32.

    The longest of two moments counts: the output layer, with its input before and after the norm;
    or a layer, with the mask of the whole context in float32 and once more in 16 bits. To 0.1 MiB
    the buffers that were printed in 2026 of Qwen3.5-9B, 808.02 MiB for 262,144 tokens and 501.00
    for 32,768; of Llama-3-8B in 2024 258.5 MiB for 8,192, which is one vector less.
    """
    chosen = model.experts_per_token * model.expert_size
    wide = chosen if model.experts else model.intermediate_size
    output = _FLOAT_BYTES * (model.vocabulary + 2 * model.hidden_size)
    masks = (_FLOAT_BYTES + _MASK_BYTES) * context
    layer = masks + _FLOAT_BYTES * (wide + 2 * model.hidden_size)
    return _MICRO_BATCH * max(output, layer)


def llamacpp_memory(
    model: ServedModel, mixture: str, config: ServingConfig, card: ServingCard
) -> EngineMemory:
    """Returns the memory of a start; its budget is all memory but the CUDA context.

    Raises:
        UsageError: several ranks, which llama.cpp does not have, or a share of memory.
    """
    if config.tensor_parallel > 1:
        raise UsageError(
            "llamacpp divides layers over cards (--split-mode), not tensors: leave "
            "--tensor-parallel out"
        )
    if config.utilization is not None:
        raise UsageError(
            "llamacpp has no share of memory: it takes what weights and --ctx-size need; leave "
            "--utilization out"
        )
    held = gguf_bytes(gguf_model(model), mixture)
    length = config.max_model_len or model.longest_context
    slots = config.max_num_seqs or 1
    compute = compute_bytes(model, length * slots)
    budget = card.free_bytes
    cache = budget - held - compute
    return EngineMemory(
        version=VERSION,
        budget_bytes=budget,
        budget_words="all memory but the CUDA context",
        parts=(
            MemoryPart(kind=PartKind.WEIGHTS, size_bytes=held),
            MemoryPart(kind=PartKind.OUTSIDE, size_bytes=card.context_bytes, is_budgeted=False),
            MemoryPart(kind=PartKind.ACTIVATIONS, size_bytes=compute),
        ),
        cache=ByteSpan(low=cache, middle=cache, high=cache),
        pool=ContextPool(
            layers=model.layers,
            element_bytes=KV_BYTES[config.kv_dtype or "f16"],
            slots=slots,
        ),
        max_model_len=length,
        max_sequences=slots,
        settings=settings_of(
            ("ctx-size", str(length * slots), config.max_model_len),
            ("parallel", str(slots), config.max_num_seqs),
        ),
        basis=None,
        notes=(
            f"the cache of {slots} x {length} tokens is allocated at the start; the figure is the "
            "memory that there is for it",
        ),
    )  # fmt: skip
