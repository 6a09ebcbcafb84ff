"""Whether an engine starts on a card, and which single change makes it start.

In: ServedModel, ServingConfig, the card. Out: BootVerdict, ServingRemedy. Convention: a remedy
starts also with the least cache of the interval.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from planner.config.serving import EngineName, ServingConfig
from planner.errors import UsageError
from planner.hardware.specs import GpuSpec
from planner.memory.kv_cache.facts import ServedModel
from planner.memory.serving.card import ServingCard
from planner.memory.serving.engine import EngineMemory
from planner.memory.serving.engines import ENGINES, engine_memory
from planner.results.serving import BootVerdict, ServingRemedy

RANKS = (1, 2, 4, 8)
_ROUND = 256  # tokens to whose multiple a proposed length is rounded down
_FEW_SEQUENCES = 64
_HIGH_UTILIZATION = 0.95
_SMALLER_QUANTS = ("fp8", "awq", "gguf:Q4_K_M")


def serving_card(spec: GpuSpec, total_bytes: int, beside_bytes: int = 0) -> ServingCard:
    """Returns a card of the database with this memory, and what else is on it."""
    return ServingCard(
        name=spec.name,
        total_bytes=total_bytes,
        context_bytes=spec.profile.context_overhead_bytes,
        nvlink_bytes_per_s=spec.nvlink_bytes_per_s,
        compute_capability=spec.profile.compute_capability,
        beside_bytes=beside_bytes,
    )


def free_share(card: ServingCard) -> float:
    """Returns the share of the card that is free before a start, rounded down."""
    return int(100 * card.free_bytes / card.total_bytes) / 100


def needed_bytes(memory: EngineMemory, config: ServingConfig) -> int:
    """Returns the cache that a start needs: one longest request, all slots, or the load."""
    longest = memory.pool.request_bytes(memory.max_model_len)
    needed = longest
    if config.engine is EngineName.LLAMACPP:
        needed = longest * (memory.max_sequences or 1)
    if config.load is not None:
        each = memory.pool.request_bytes(config.load.length)
        needed = max(needed, each * config.load.users)
    return needed


def verdict_of(memory: EngineMemory, needed: int, card: ServingCard) -> BootVerdict:
    """Returns whether the engine starts: its budget is free, and its cache holds what is needed."""
    cache = memory.cache
    if memory.budget_bytes > card.free_bytes:
        return BootVerdict.FAILS  # vLLM refuses a share that is not free (request_memory)
    if cache.low >= needed:
        return BootVerdict.STARTS
    if cache.middle >= needed:
        return BootVerdict.LIKELY
    return BootVerdict.UNLIKELY if cache.high >= needed else BootVerdict.FAILS


def remedies(
    model: ServedModel, config: ServingConfig, card: ServingCard
) -> Iterator[ServingRemedy]:
    """Yields single changes with which it starts also with the least cache."""
    shorter = _shorter(model, config, card)
    changes = [*([shorter] if shorter else []), *_changes(config, free_share(card))]
    for words, flags, changed in changes:
        try:
            memory, _ = engine_memory(model, changed, card)
        except UsageError:
            continue  # the engine or the model does not take it
        if verdict_of(memory, needed_bytes(memory, changed), card) is BootVerdict.STARTS:
            requests = memory.pool.requests_at_once(memory.cache.low, memory.max_model_len)
            yield ServingRemedy(words=words, flags=flags, requests=requests)


_Change = tuple[str, tuple[str, ...], ServingConfig]


def _shorter(model: ServedModel, config: ServingConfig, card: ServingCard) -> _Change | None:
    """Returns the longest length that starts, where no load asks for one."""
    if config.load is not None:
        return None
    memory, _ = engine_memory(model, config, card)
    longest = memory.pool.longest(max(0, memory.cache.low), memory.max_model_len)
    length = longest // _ROUND * _ROUND
    if not length:
        return None
    return (
        "a shorter longest request",
        ("--max-model-len", str(length)),
        replace(config, max_model_len=length),
    )


def _changes(config: ServingConfig, free_share: float) -> Iterator[_Change]:
    engine = ENGINES[config.engine]
    if config.kv_dtype is None and engine.small_kv is not None:
        yield (
            "keys and values in fewer bits",
            ("--kv-dtype", engine.small_kv),
            replace(config, kv_dtype=engine.small_kv),
        )
    if config.max_num_seqs is None and config.load is None:
        yield (
            "fewer requests in a step, which is what sampling and CUDA graphs are sized for",
            ("--max-num-seqs", str(_FEW_SEQUENCES)),
            replace(config, max_num_seqs=_FEW_SEQUENCES),
        )
    if config.engine is EngineName.VLLM and not config.beside_bytes:
        share = min(_HIGH_UTILIZATION, free_share)
        if config.utilization != share:
            yield (
                "another share of the card",
                ("--utilization", str(share)),
                replace(config, utilization=share),
            )
    if config.quant is None:
        for quant in _SMALLER_QUANTS:
            yield "a quantised checkpoint", ("--quant", quant), replace(config, quant=quant)
    for ranks in RANKS:
        if ranks > config.tensor_parallel:
            yield (
                f"{ranks} cards",
                ("--tensor-parallel", str(ranks)),
                replace(config, tensor_parallel=ranks),
            )
