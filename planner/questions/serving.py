"""serving(): what an engine that serves a language model takes of a card, and what it holds.

target, engine, card, settings
  -> shapes of the model: of the catalog, or built in a child
  -> the engine's memory by its own rule, its cache, requests at once, longest context
  -> does it start; if not, which single change makes it start
  -> ServingPlan
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from planner.config.options import Progress
from planner.config.serving import EngineName, ServingConfig, ServingOptions
from planner.config.serving_words import serving_config
from planner.errors import UsageError
from planner.estimation.request import DEFAULT_TIMEOUT_S
from planner.estimation.served_shapes import FoundShapes, found_shapes
from planner.estimation.serving_command import command_of
from planner.hardware.database import load_gpus
from planner.hardware.specs import GpuSpec, Vendor
from planner.memory.budget import MemoryBudget, memory_budgets
from planner.memory.card_words import one_card
from planner.memory.kv_cache.facts import ServedModel, served_model
from planner.memory.serving.card import ServingCard
from planner.memory.serving.engine import EngineMemory
from planner.memory.serving.engines import ENGINES, engine_memory
from planner.memory.serving.formats import format_of_config
from planner.results.serving import (
    BootVerdict,
    CacheRoom,
    ServingChoice,
    ServingPlan,
    ServingRemedy,
)
from planner.units import format_bytes

if TYPE_CHECKING:
    from typing_extensions import Unpack

_RANKS = (1, 2, 4, 8)
_MOST_CHOICES = 6
_ROUND = 256  # tokens to whose multiple a proposed length is rounded down
_FEW_SEQUENCES = 64
_HIGH_UTILIZATION = 0.95
_SMALLER_QUANTS = ("fp8", "awq", "gguf:Q4_K_M")


def serving(
    target: str,
    *,
    gpu: str = "auto",
    find: bool = False,
    gpu_memory: str | int | None = None,
    hardware_db: str | os.PathLike[str] | None = None,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    on_progress: Progress | None = None,
    **options: Unpack[ServingOptions],
) -> ServingPlan:
    """Predicts a start of an engine: weights, cache, requests at once, longest context.

    `target` is `hf:org/name`, a name of the catalog or a config.json. With `find`, the smallest
    cards that serve it are searched. All other `options`: planner.config.serving.ServingOptions.

    Raises:
        PlannerError: see errors.py. A start that fails is a result.
    """
    config = serving_config(options)
    _check_of_vllm(config)
    database = None if hardware_db is None else Path(hardware_db)
    name = one_card(gpu, "gpu", "serving answers for one kind of card", database)
    (budget,) = memory_budgets([name], hardware_db=database, gpu_memory=gpu_memory, reserve=0)
    found = found_shapes(str(target), timeout_s, on_progress or (lambda _: None))
    model = served_model(found.shapes)
    config = _with_format_of_config(config, found)
    plan = _plan(str(target), found, model, config, budget)
    if find:
        choices = _choices(model, config, load_gpus(database).all())
        plan = replace(plan, choices=choices, searched=True)
    return plan


def _check_of_vllm(config: ServingConfig) -> None:
    """Refuses options that only vLLM has here."""
    if config.engine is EngineName.VLLM:
        return
    given = (
        ("engine_version", config.version is not None),
        ("prefix_caching", config.prefix_caching is not None),
        ("speculative_tokens", config.speculative_tokens > 0),
    )
    for name, is_given in given:
        if is_given:
            raise UsageError(
                f"{name} (--{name.replace('_', '-')}) was given, and only vllm's rules are known "
                f"with it: leave it out, or take --engine vllm in the place of "
                f"{config.engine.value}"
            )


def _with_format_of_config(config: ServingConfig, found: FoundShapes) -> ServingConfig:
    """Returns the settings with the format that config.json states, where none was given."""
    if config.quant is not None or not found.quantization:
        return config
    if config.engine is EngineName.LLAMACPP:
        return config
    stated = format_of_config(found.quantization)
    if stated is None:
        method = found.quantization.get("quant_method")
        raise UsageError(
            f"the config of {found.name} states quantised weights ({method}) whose layout is not "
            f"known here: name the nearest by --quant, one of "
            f"{', '.join(ENGINES[config.engine].quants)}"
        )
    return replace(config, quant=stated)


def _plan(
    target: str,
    found: FoundShapes,
    model: ServedModel,
    config: ServingConfig,
    budget: MemoryBudget,
) -> ServingPlan:
    card = _card(budget.spec, budget.usable_memory_bytes)
    memory, format_words = engine_memory(model, config, card)
    needed = needed_bytes(memory, config)
    verdict = verdict_of(memory, needed, card)
    remedies = () if verdict is BootVerdict.STARTS else tuple(_remedies(model, config, card))
    note = () if budget.note is None else (budget.note,)
    return ServingPlan(
        target=target,
        origin=found.origin,
        engine=config.engine,
        engine_version=memory.version,
        gpu=budget.spec.id,
        gpu_name=budget.spec.name,
        total_bytes=budget.usable_memory_bytes,
        tensor_parallel=config.tensor_parallel,
        quant=format_words,
        kv_dtype=config.kv_dtype or "auto",
        budget_bytes=memory.budget_bytes,
        budget_words=memory.budget_words,
        parts=memory.parts,
        cache=memory.cache,
        has_interval=memory.basis is not None,
        max_model_len=memory.max_model_len,
        max_sequences=memory.max_sequences,
        needed_bytes=needed,
        verdict=verdict,
        low=_held(memory, memory.cache.low, model),
        middle=_held(memory, memory.cache.middle, model),
        high=_held(memory, memory.cache.high, model),
        settings=memory.settings,
        command=command_of(found.name, config, memory),
        load=config.load,
        remedies=remedies,
        assumptions=(*note, *_assumptions(found, memory)),
        notes=memory.notes,
        warnings=_warnings(memory, card),
    )


def _assumptions(found: FoundShapes, memory: EngineMemory) -> Iterator[str]:
    yield found.origin
    yield f"shapes: {found.shapes.built_by}"
    if memory.basis is None:
        yield "no published starts of this engine were compared: its figures have no interval"
    else:
        yield f"interval of the cache: {memory.basis}"


def _warnings(memory: EngineMemory, card: ServingCard) -> tuple[str, ...]:
    """Returns why it may fail in spite of its cache: a share that is not free, graphs beside it."""
    free = card.total_bytes - card.context_bytes
    if memory.budget_bytes > free:
        return (
            f"the budget of {format_bytes(memory.budget_bytes)} is more than the "
            f"{format_bytes(free)} that are free on an idle card: the engine refuses to start; "
            f"--utilization {_free_share(card)} is the most",
        )
    beside = sum(part.size_bytes for part in memory.parts if not part.is_budgeted)
    room = card.total_bytes - memory.budget_bytes - card.context_bytes
    if memory.basis is not None and beside > max(0, room):
        return (
            f"CUDA graphs take about {format_bytes(beside)} on top of the budget, and "
            f"{format_bytes(max(0, room))} are left there: lower --utilization, or capture fewer",
        )
    return ()


def _free_share(card: ServingCard) -> float:
    """Returns the share of the card that is free before a start, rounded down."""
    return int(100 * (card.total_bytes - card.context_bytes) / card.total_bytes) / 100


def _card(spec: GpuSpec, total_bytes: int) -> ServingCard:
    return ServingCard(
        name=spec.name,
        total_bytes=total_bytes,
        context_bytes=spec.profile.context_overhead_bytes,
        nvlink_bytes_per_s=spec.nvlink_bytes_per_s,
        compute_capability=spec.profile.compute_capability,
    )


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


def _held(memory: EngineMemory, cache_bytes: int, model: ServedModel) -> CacheRoom:
    usable = max(0, cache_bytes)
    return CacheRoom(
        cache_bytes=cache_bytes,
        tokens=memory.pool.tokens(usable, memory.max_model_len),
        requests=memory.pool.requests_at_once(usable, memory.max_model_len),
        longest=memory.pool.longest(usable, model.longest_context),
    )


def _remedies(
    model: ServedModel, config: ServingConfig, card: ServingCard
) -> Iterator[ServingRemedy]:
    """Yields single changes with which it starts also with the least cache."""
    shorter = _shorter(model, config, card)
    changes = [*([shorter] if shorter else []), *_changes(config, _free_share(card))]
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


def _choices(
    model: ServedModel, config: ServingConfig, specs: tuple[GpuSpec, ...]
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
            card = _card(spec, spec.usable_memory_bytes)
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
