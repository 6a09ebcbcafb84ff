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
from planner.config.serving import EngineName, Runner, ServingConfig, ServingOptions
from planner.config.serving_pooling import with_runner
from planner.config.serving_words import serving_config
from planner.cost.price import HourlyPrice, parse_price, rent
from planner.errors import UnknownLinkError, UsageError
from planner.estimation.request import DEFAULT_TIMEOUT_S
from planner.estimation.served_shapes import FoundShapes, found_shapes
from planner.estimation.serving_beside import Beside, beside_of
from planner.estimation.serving_choices import choices
from planner.estimation.serving_command import command_of
from planner.estimation.serving_own_start import own_version, with_own_start
from planner.estimation.serving_speed import ServedBy, has_speed, serving_speed, speed_words
from planner.estimation.serving_start import (
    free_share,
    needed_bytes,
    remedies,
    serving_card,
    verdict_of,
)
from planner.hardware.database import load_gpus, load_links
from planner.memory.budget import MemoryBudget, memory_budgets
from planner.memory.card_words import one_card
from planner.memory.kv_cache.facts import ServedModel, served_model
from planner.memory.serving.card import ServingCard
from planner.memory.serving.engine import EngineMemory
from planner.memory.serving.engines import ENGINES, engine_memory
from planner.memory.serving.formats import format_of_config
from planner.memory.serving.pooling import pooled
from planner.memory.serving.vision import image_bytes
from planner.results.serving import (
    BootVerdict,
    CacheRoom,
    ServingPlan,
)
from planner.units import format_bytes

if TYPE_CHECKING:
    from typing_extensions import Unpack


def serving(
    target: str,
    *,
    gpu: str = "auto",
    find: bool = False,
    gpu_memory: str | int | None = None,
    price: str | None = None,
    beside: str | None = None,
    own_start: bool = False,
    hardware_db: str | os.PathLike[str] | None = None,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    on_progress: Progress | None = None,
    **options: Unpack[ServingOptions],
) -> ServingPlan:
    """Predicts a start of an engine: weights, cache, longest context, and the speed of a load.

    `target` is `hf:org/name`, a name of the catalog or a config.json. With `find`, the cards that
    serve it are searched. `price` is the rent of a card, like "2.49 USD/h"; else that of its
    record. `beside` is what else is on the card: a size, or the file of a saved estimate, as of a
    training step; then vllm gets the share that is left. With `own_start` the vllm that is
    installed starts on the emulated card, and the figures are its own. All other `options`:
    planner.config.serving.ServingOptions.

    Raises:
        PlannerError: see errors.py. A start that fails is a result.
    """
    config = serving_config(options)
    _check_of_vllm(config)
    _check_speed(config)
    rate = None if price is None else parse_price(price)
    database = None if hardware_db is None else Path(hardware_db)
    name = one_card(gpu, "gpu", "serving answers for one kind of card", database)
    (budget,) = memory_budgets([name], hardware_db=database, gpu_memory=gpu_memory, reserve=0)
    found = found_shapes(str(target), timeout_s, on_progress or (lambda _: None))
    model = served_model(found.shapes)
    if config.draft is not None:
        proposing = found_shapes(config.draft, timeout_s, on_progress or (lambda _: None))
        model = replace(model, draft=served_model(proposing.shapes))
    config = with_runner(config, is_encoder=model.is_encoder)
    if config.runner is Runner.POOLING:
        model = pooled(model)
    config = _with_format_of_config(config, found)
    other = None if beside is None else beside_of(beside, budget.spec.id)
    if other is not None:
        config = _with_share_left(config, budget, other)
    links = load_links(database)
    card = serving_card(budget.spec, budget.usable_memory_bytes, config.beside_bytes)
    if own_start:
        config = replace(config, version=own_version(config, model))
    memory, format_words = engine_memory(model, config, card)
    if own_start:
        memory = with_own_start(
            memory,
            config,
            config_json=found.config,
            budget=budget,
            timeout_s=timeout_s,
            progress=on_progress or (lambda _: None),
        )
    served = ServedBy(model=model, config=config, memory=memory, card=budget.spec, links=links)
    plan = _plan(str(target), found, served, card, budget, format_words)
    if other is not None:
        plan = replace(plan, assumptions=(*plan.assumptions, other.words))
    plan = _with_speed(plan, served, rate or rent(budget.spec.prices))
    if find:
        found_cards = choices(model, config, load_gpus(database).all(), links)
        plan = replace(plan, choices=found_cards, searched=True)
    return plan


def _check_of_vllm(config: ServingConfig) -> None:
    """Refuses options that only vLLM has here."""
    if config.engine is EngineName.VLLM:
        return
    given = (
        ("engine_version", config.version is not None),
        ("prefix_caching", config.prefix_caching is not None),
        ("speculative_tokens", config.speculative_tokens > 0),
        ("lora_rank", config.lora_rank is not None),
    )
    for name, is_given in given:
        if is_given:
            raise UsageError(
                f"{name} (--{name.replace('_', '-')}) was given, and only vllm's rules are known "
                f"with it: leave it out, or take --engine vllm in the place of "
                f"{config.engine.value}"
            )


def _with_share_left(config: ServingConfig, budget: MemoryBudget, other: Beside) -> ServingConfig:
    """Returns the settings with what else is on the card, and vllm's share of what is left."""
    size = other.size_bytes
    card = serving_card(budget.spec, budget.usable_memory_bytes, size)
    share = config.utilization
    if share is None and config.engine is EngineName.VLLM:
        share = free_share(card)
    if share == 0:
        raise UsageError(
            f"beside (--beside) holds {format_bytes(size)}, and nothing is left on {card.name} of "
            f"{format_bytes(card.total_bytes)}: name a larger card, or a smaller step"
        )
    return replace(config, beside_bytes=size, utilization=share)


def _check_speed(config: ServingConfig) -> None:
    """Refuses limits of times for an engine whose speed is not known."""
    limited = config.ttft_s is not None or config.tpot_s is not None
    if limited and not has_speed(config.engine):
        known = ", ".join(one.value for one in EngineName if has_speed(one))
        raise UsageError(
            f"ttft and tpot (--ttft, --tpot) limit a speed, and that of {config.engine.value} is "
            f"not known here: leave them out, or take one of {known}"
        )


def _with_speed(plan: ServingPlan, served: ServedBy, price: HourlyPrice | None) -> ServingPlan:
    """Returns the plan with the speed of its load, where the cache holds a request of it."""
    config, load = served.config, served.config.load
    if load is None or plan.middle.requests < 1:
        return plan
    try:
        speed = serving_speed(served, load, price)
    except UnknownLinkError as error:
        return replace(plan, warnings=(*plan.warnings, f"the speed is not answered: {error}"))
    if speed is None:
        words = f"the speed of {config.engine.value} is not known here, only its memory"
        return replace(plan, notes=(*plan.notes, words), assumptions=(*plan.assumptions, words))
    return replace(
        plan,
        speed=speed,
        assumptions=(*plan.assumptions, *speed_words(speed, served.model, config)),
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
    served: ServedBy,
    card: ServingCard,
    budget: MemoryBudget,
    format_words: str,
) -> ServingPlan:
    model, config, memory = served.model, served.config, served.memory
    needed = needed_bytes(memory, config)
    verdict = verdict_of(memory, needed, card)
    changes = () if verdict is BootVerdict.STARTS else tuple(remedies(model, config, card))
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
        has_cache=not model.is_encoder,
        beside_bytes=config.beside_bytes,
        is_own_start=memory.is_own_start,
        verdict=verdict,
        low=_held(memory, memory.cache.low, model),
        middle=_held(memory, memory.cache.middle, model),
        high=_held(memory, memory.cache.high, model),
        settings=memory.settings,
        command=command_of(found.name, config, memory),
        load=config.load,
        remedies=changes,
        assumptions=(*note, *_assumptions(found, memory)),
        notes=memory.notes,
        warnings=tuple(_warnings(memory, config, card, model)),
    )


def _assumptions(found: FoundShapes, memory: EngineMemory) -> Iterator[str]:
    yield found.origin
    yield f"shapes: {found.shapes.built_by}"
    if memory.basis is None:
        yield "no published starts of this engine were compared: its figures have no interval"
    else:
        yield f"interval of the cache: {memory.basis}"
    yield from memory.notes


def _warnings(
    memory: EngineMemory, config: ServingConfig, card: ServingCard, model: ServedModel
) -> Iterator[str]:
    """Yields why it may fail or wait in spite of its cache."""
    free = card.free_bytes
    where = " beside the rest" if card.beside_bytes else " on an idle card"
    if memory.budget_bytes > free:
        yield (
            f"the budget of {format_bytes(memory.budget_bytes)} is more than the "
            f"{format_bytes(free)} that are free{where}: the engine refuses to start; "
            f"--utilization {free_share(card)} is the most"
        )
        return
    beside = sum(part.size_bytes for part in memory.parts if not part.is_budgeted)
    room = max(0, free - memory.budget_bytes)
    if memory.basis is not None and beside > room:
        yield (
            f"CUDA graphs take about {format_bytes(beside)} on top of the budget, and "
            f"{format_bytes(room)} are left there: lower --utilization, or capture fewer"
        )
    load, most = config.load, memory.max_sequences
    if load is not None and most is not None and load.users > most:
        yield f"a step has at most {most} requests, so some of {load.users} wait: --max-num-seqs"
    knows_image = config.engine is EngineName.VLLM and image_bytes(model, 1) is not None
    if model.has_vision and config.engine is not EngineName.LLAMACPP and not knows_image:
        yield "the model reads images, and what reading one takes at its peak is not counted"


def _held(memory: EngineMemory, cache_bytes: int, model: ServedModel) -> CacheRoom:
    usable = max(0, cache_bytes)
    return CacheRoom(
        cache_bytes=cache_bytes,
        tokens=memory.pool.tokens(usable, memory.max_model_len),
        requests=memory.pool.requests_at_once(usable, memory.max_model_len),
        longest=memory.pool.longest(usable, model.longest_context),
    )
