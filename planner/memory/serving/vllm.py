"""vLLM: cache = utilization x memory - weights - outside - peak of the profile run (- graphs).

In: ServedModel, WeightFormat, ServingConfig, the card. Out: EngineMemory. Convention:
determine_available_memory of vllm/v1/worker/gpu_worker.py; the identity is exact to 0.01 GiB in 36
of 39 published starts that print all of its parts (docs/serving-record.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from planner.config.serving import ServingConfig
from planner.errors import UsageError
from planner.memory.kv_cache.blocks import block_pool
from planner.memory.kv_cache.facts import ServedModel
from planner.memory.serving.adapters import (
    MOST_VOCABULARY,
    RANKS,
    adapter_bytes,
    has_vocabulary,
)
from planner.memory.serving.card import ServingCard
from planner.memory.serving.engine import (
    ByteSpan,
    CachePool,
    EngineMemory,
    EngineSetting,
    MemoryPart,
    PartKind,
    settings_of,
)
from planner.memory.serving.formats import PLAIN, WeightFormat
from planner.memory.serving.pooling import NoCache
from planner.memory.serving.vision import image_bytes
from planner.memory.serving.vllm_rules import NEWEST, VllmSettings, vllm_settings
from planner.memory.serving.vllm_terms import FittedTerms, Terms, fitted_terms, vllm_terms
from planner.memory.serving.weights import (
    check_ranks,
    proposing_head_bytes,
    rotary_bytes,
    weight_bytes,
)
from planner.units import format_significant

# The least compute capability by format (get_min_capability of the classes in
# vllm/model_executor/layers/quantization, 0.33.0), and that of bfloat16 (platforms/cuda.py).
_LEAST_CAPABILITY: Mapping[str, tuple[int, int]] = {
    "fp8": (7, 5), "int8": (7, 5), "awq": (7, 5), "w4a16": (7, 5), "nvfp4": (7, 5),
    "mxfp4": (8, 0),
}  # fmt: skip
_BFLOAT16_CAPABILITY = (8, 0)
_WITHOUT_NF4 = (0, 28)  # its QuantizationMethods lack bitsandbytes; those of 0.26 have it
QUANTS = ("fp8", "int8", "awq", "gptq", "w4a16", "nvfp4", "mxfp4", "nf4")
# Bytes of an element by --kv-cache-dtype (vllm/config/cache.py, CacheDType).
KV_BYTES: Mapping[str, float] = {
    "auto": 2, "bfloat16": 2, "float16": 2, "fp8": 1, "fp8_e4m3": 1, "fp8_e5m2": 1,
}  # fmt: skip


def vllm_memory(
    model: ServedModel,
    weights: WeightFormat,
    config: ServingConfig,
    card: ServingCard,
    *,
    terms: FittedTerms | None = None,
    weight_ranks: int | None = None,
) -> EngineMemory:
    """Returns the memory of a start. `terms`: other constants than those that are shipped.

    `weight_ranks` is the number of cards over which the weights are divided where experts are
    spread over more than the ranks of a layer; None: the ranks.

    Raises:
        UsageError: this version does not serve such a model.
    """
    _check_format(weights, config, card)
    _check_adapters(model, config)
    if model.draft is not None:
        check_ranks(model.draft, config.tensor_parallel)
    fitted = terms or fitted_terms()
    ranks = config.tensor_parallel
    settings = vllm_settings(
        config,
        total_bytes=card.total_bytes,
        card=card.name,
        longest=model.longest_context,
        reads_whole=model.is_encoder,
    )
    found = vllm_terms(
        model,
        settings,
        ranks=ranks,
        nvlink_bytes_per_s=card.nvlink_bytes_per_s,
        constants=fitted.constants,
    )
    held = weight_bytes(model, weights, weight_ranks or ranks) + rotary_bytes(model)
    if config.speculative_tokens and model.draft is None:
        held += proposing_head_bytes(model, weight_ranks or ranks)
    more = tuple(_more_parts(model, config))
    budget = int(settings.utilization * card.total_bytes)
    counts = settings.rules.counts_graphs
    unknown = found.outside + found.peak + (found.graphs if counts else 0)
    low, high = fitted.bounds(unknown)
    left = budget - held - sum(part.size_bytes for part in more)
    return EngineMemory(
        version=".".join(map(str, settings.rules.version)),
        budget_bytes=budget,
        budget_words=f"{format_significant(settings.utilization)} of all memory",
        parts=_parts(held, more, found, counts=counts),
        cache=ByteSpan(low=left - high, middle=left - unknown, high=left - low),
        pool=_pool(model, config, settings, card),
        max_model_len=settings.max_model_len,
        max_sequences=settings.sequences,
        settings=_settings(config, settings, card),
        basis=(
            f"{fitted.starts} published starts of vLLM from {fitted.sources} sources; with each "
            f"source left out, {fitted.inside} are inside"
        ),
        notes=tuple(_notes(settings, model)),
    )


def _check_format(weights: WeightFormat, config: ServingConfig, card: ServingCard) -> None:
    if weights.name == "nf4" and (config.version or NEWEST) >= _WITHOUT_NF4:
        raise UsageError(
            "vllm does not know quant nf4 (bitsandbytes) any more: name a version before "
            f"{_WITHOUT_NF4[0]}.{_WITHOUT_NF4[1]} (--engine-version), or another format"
        )
    least = _LEAST_CAPABILITY.get(weights.name, (0, 0))
    if card.compute_capability < least:
        raise UsageError(
            f"vllm runs {weights.name} (--quant) from compute capability {least[0]}.{least[1]} on, "
            f"and {card.name} has {card.compute_capability[0]}.{card.compute_capability[1]}: name "
            "a newer card, or gptq"
        )


def _check_adapters(model: ServedModel, config: ServingConfig) -> None:
    """Refuses ranks and vocabularies for which vLLM has no adapters."""
    if config.lora_rank is None:
        return
    if config.lora_rank not in RANKS:
        raise UsageError(
            f"vllm has no slots for adapters of rank {config.lora_rank} (--lora-rank): it has them "
            f"of {', '.join(map(str, RANKS))}; take the next above that of the adapters"
        )
    if has_vocabulary(model) and model.vocabulary > MOST_VOCABULARY:
        raise UsageError(
            f"vllm serves no adapters (--lora-rank) with a vocabulary above {MOST_VOCABULARY}, and "
            f"the model has {model.vocabulary}: leave them out, or merge them into the weights"
        )


def _notes(settings: VllmSettings, model: ServedModel) -> Iterator[str]:
    version = settings.rules.version
    known = ".".join(map(str, NEWEST))
    if version > NEWEST:
        yield f"rules: those of {known}, the newest that is known"
    if not settings.rules.is_v1:
        yield "engine V0, whose prompts are not cut into chunks"
    yield _graphs_note(settings)
    if settings.rules.is_v1 and image_bytes(model, 1) is not None:
        yield (
            "the profile run reads the largest image; vllm's --language-model-only leaves the "
            "encoder out, which is not counted here"
        )


def _graphs_note(settings: VllmSettings) -> str:
    if not settings.graph_sizes:
        return "no CUDA graphs (--enforce-eager)"
    if settings.rules.counts_graphs:
        return "the estimate of CUDA graphs comes out of the budget (since 0.20)"
    return "CUDA graphs come on top of the budget: leave room for them (before 0.20)"


def _more_parts(model: ServedModel, config: ServingConfig) -> Iterator[MemoryPart]:
    """Yields slots of adapters, and the weights of a draft model, on one rank.

    A draft model is divided over the same ranks, in 16 bits
    (vllm/config/speculative.py, draft_tensor_parallel_size).
    """
    ranks = config.tensor_parallel
    if config.lora_rank is not None:
        slots = adapter_bytes(model, ranks, rank=config.lora_rank, slots=config.lora_max)
        yield MemoryPart(kind=PartKind.ADAPTERS, size_bytes=slots)
    if model.draft is not None:
        size = weight_bytes(model.draft, PLAIN, ranks) + rotary_bytes(model.draft)
        yield MemoryPart(kind=PartKind.DRAFT, size_bytes=size)


def _parts(
    held: int, more: tuple[MemoryPart, ...], terms: Terms, *, counts: bool
) -> tuple[MemoryPart, ...]:
    return (
        MemoryPart(kind=PartKind.WEIGHTS, size_bytes=held),
        *more,
        MemoryPart(kind=PartKind.OUTSIDE, size_bytes=terms.outside),
        MemoryPart(kind=PartKind.ACTIVATIONS, size_bytes=terms.peak),
        MemoryPart(kind=PartKind.GRAPHS, size_bytes=terms.graphs, is_budgeted=counts),
    )


def _pool(
    model: ServedModel, config: ServingConfig, settings: VllmSettings, card: ServingCard
) -> CachePool:
    if model.is_encoder:
        return NoCache(step_tokens=settings.step_tokens, sequences=settings.sequences)
    rules = settings.rules.pool_on(card.compute_capability)
    if config.prefix_caching is not None:
        rules = replace(rules, states_per_request=2 if config.prefix_caching else 1)
    has_head = model.draft is None
    layers = model.layers if model.draft is None else (*model.layers, *model.draft.layers)
    return block_pool(
        layers,
        ranks=config.tensor_parallel,
        element_bytes=element_bytes(config.kv_dtype),
        model_element_bytes=2,
        step_tokens=settings.step_tokens,
        rules=rules,
        speculative_tokens=config.speculative_tokens if has_head else 0,
    )


def element_bytes(kv_dtype: str | None) -> float:
    """Returns the bytes of an element of keys and values.

    Raises:
        UsageError: vLLM has no such dtype of the cache.
    """
    name = kv_dtype or "auto"
    if name not in KV_BYTES:
        raise UsageError(
            f"vllm has no dtype of the cache {name!r} (--kv-dtype); it has {', '.join(KV_BYTES)}"
        )
    return KV_BYTES[name]


def _settings(
    config: ServingConfig, settings: VllmSettings, card: ServingCard
) -> tuple[EngineSetting, ...]:
    found = settings_of(
        ("gpu-memory-utilization", format_significant(settings.utilization), config.utilization),
        ("max-model-len", str(settings.max_model_len), config.max_model_len),
        ("max-num-seqs", str(settings.sequences), config.max_num_seqs),
        ("max-num-batched-tokens", str(settings.step_tokens), config.max_num_batched_tokens),
    )
    if config.lora_rank is not None:
        adapters = settings_of(
            ("max-loras", str(config.lora_max), config.lora_max),
            ("max-lora-rank", str(config.lora_rank), config.lora_rank),
        )
        found = (*found, *adapters)
    if card.compute_capability < _BFLOAT16_CAPABILITY:  # the card has no bfloat16
        return (*found, EngineSetting(name="dtype", value="half", is_given=True))
    return found
