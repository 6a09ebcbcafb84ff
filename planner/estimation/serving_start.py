"""Whether an engine starts on a card, which single change makes it start, and which cards do.

In: ServedModel, ServingConfig, the card. Out: BootVerdict, ServingRemedy, ServingChoice.
Convention: a remedy and a choice start also with the least cache of the interval.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from planner.config.serving import EngineName, ServingConfig
from planner.errors import UsageError
from planner.hardware.specs import GpuSpec, Vendor
from planner.memory.kv_cache.facts import ServedModel
from planner.memory.serving.card import ServingCard
from planner.memory.serving.engine import EngineMemory
from planner.memory.serving.engines import ENGINES, engine_memory
from planner.results.serving import BootVerdict, ServingChoice, ServingRemedy

_RANKS = (1, 2, 4, 8)
_MOST_CHOICES = 6
_ROUND = 256  # tokens to whose multiple a proposed length is rounded down
_FEW_SEQUENCES = 64
_HIGH_UTILIZATION = 0.95
_SMALLER_QUANTS = ("fp8", "awq", "gguf:Q4_K_M")


def serving_card(spec: GpuSpec, total_bytes: int) -> ServingCard:
    """Returns a card of the database with this memory."""
    return ServingCard(
        name=spec.name,
        total_bytes=total_bytes,
        context_bytes=spec.profile.context_overhead_bytes,
        nvlink_bytes_per_s=spec.nvlink_bytes_per_s,
        compute_capability=spec.profile.compute_capability,
    )


def free_share(card: ServingCard) -> float:
    """Returns the share of the card that is free before a start, rounded down."""
    return int(100 * (card.total_bytes - card.context_bytes) / card.total_bytes) / 100


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
    if memory.budget_bytes > card.total_bytes - card.context_bytes:
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
    if config.engine is EngineName.VLLM:
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
    for ranks in _RANKS:
        if ranks > config.tensor_parallel:
            yield (
                f"{ranks} cards",
                ("--tensor-parallel", str(ranks)),
                replace(config, tensor_parallel=ranks),
            )


def choices(
    model: ServedModel, config: ServingConfig, specs: Iterable[GpuSpec]
) -> tuple[ServingChoice, ...]:
    """Returns the smallest cards, each with the fewest of them, that serve it surely."""
    found: list[ServingChoice] = []
    for spec in specs:
        if spec.vendor is not Vendor.NVIDIA:
            continue
        choice = _smallest(model, config, spec)
        if choice is not None:
            found.append(choice)
    found.sort(key=lambda one: (one.total_bytes, one.tensor_parallel))
    return tuple(found[:_MOST_CHOICES])


def _smallest(model: ServedModel, config: ServingConfig, spec: GpuSpec) -> ServingChoice | None:
    for ranks in _RANKS:
        changed = replace(config, tensor_parallel=ranks)
        try:
            card = serving_card(spec, spec.usable_memory_bytes)
            memory, _ = engine_memory(model, changed, card)
        except UsageError:
            continue  # the heads, or the engine, do not take this number
        if verdict_of(memory, needed_bytes(memory, changed), card) is not BootVerdict.STARTS:
            continue
        rents = [one.usd_per_hour for one in spec.prices if one.usd_per_hour is not None]
        return ServingChoice(
            gpu=spec.id,
            tensor_parallel=ranks,
            total_bytes=ranks * spec.usable_memory_bytes,
            requests=memory.pool.requests_at_once(memory.cache.low, memory.max_model_len),
            usd_per_hour=ranks * min(rents) if rents else None,
        )
    return None
