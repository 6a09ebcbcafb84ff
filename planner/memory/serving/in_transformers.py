"""generate() of transformers: weights, a cache that grows, and the peak of reading the prompt.

In: ServedModel, WeightFormat, ServingConfig, the card. Out: EngineMemory. Convention: a
DynamicCache keeps every token in 16 bits (cache_utils.py, transformers 5.24.0; a window keeps its
own); the peak of a prompt is that of a forward, and logits of its last token alone.
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
from planner.memory.serving.weights import weight_bytes

VERSION = "5.24"
QUANTS = ("fp8", "int8", "awq", "gptq", "w4a16", "mxfp4", "nf4")
KV_BYTES: Mapping[str, float] = {"auto": 2}


def transformers_memory(
    model: ServedModel, weights: WeightFormat, config: ServingConfig, card: ServingCard
) -> EngineMemory:
    """Returns the memory of generate(); its budget is all memory but the CUDA context.

    Raises:
        UsageError: several ranks, or a share of memory, which generate() does not have.
    """
    if config.tensor_parallel > 1:
        raise UsageError(
            "generate() of transformers is answered for one card: leave --tensor-parallel out, or "
            "name --engine vllm"
        )
    if config.utilization is not None:
        raise UsageError(
            "transformers has no share of memory: it takes what it needs; leave --utilization out"
        )
    factor = fitted_terms().constants.forward_factor

    def prompt_peak(length: int) -> int:
        return round(factor * forward_bytes(model, length, 1))

    held = weight_bytes(model, weights, 1)
    length = config.max_model_len or model.longest_context
    budget = card.free_bytes
    left = budget - held
    return EngineMemory(
        version=VERSION,
        budget_bytes=budget,
        budget_words="all memory but the CUDA context",
        parts=(
            MemoryPart(kind=PartKind.WEIGHTS, size_bytes=held),
            MemoryPart(kind=PartKind.OUTSIDE, size_bytes=card.context_bytes, is_budgeted=False),
        ),
        cache=ByteSpan(low=left, middle=left, high=left),
        pool=TokenPool(
            layers=model.layers, ranks=1, element_bytes=KV_BYTES["auto"], beside=prompt_peak
        ),
        max_model_len=length,
        max_sequences=config.max_num_seqs,
        settings=settings_of(("max_length", str(length), config.max_model_len)),
        basis=None,
        notes=(
            "the cache grows with the requests; a request holds the peak of reading its prompt too",
        ),
    )  # fmt: skip
