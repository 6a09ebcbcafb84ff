"""How fast an engine serves a load: tokens per second, times to tokens, limits, money.

In: ServedModel, ServingConfig, EngineMemory, a card, its price. Out: ServingSpeed. Convention: the
steady state of planner/timing/serving/steady.py; the interval is that of published loads.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import exp, hypot, log

from planner.config.serving import EngineName, ServingConfig, ServingLoad
from planner.cost.price import HourlyPrice
from planner.hardware.database import LinkDatabase
from planner.hardware.specs import GpuSpec
from planner.memory.kv_cache.facts import ServedModel
from planner.memory.serving.engine import EngineMemory
from planner.memory.serving.engines import ENGINES, weight_format
from planner.results.serving_speed import (
    ServingLimit,
    ServingLimitKind,
    ServingSpeed,
    SpeedSpan,
    TokenCost,
    limit_verdict,
)
from planner.timing.serving.host_terms import SpeedTerms, speed_terms
from planner.timing.serving.model_products import model_products
from planner.timing.serving.reduces import joined
from planner.timing.serving.steady import Demand, Holding, SteadyLoad, steady_load
from planner.timing.serving.step import Stepper

_STEP_SETTINGS = ("max-num-batched-tokens", "chunked-prefill-size", "max_num_tokens")
_SECONDS_OF_HOUR, _MILLION = 3600, 1e6
_NINE_OF_TEN = 1.645  # standard deviations of a normal distribution
_MOST_USERS = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedBy:
    """What serves: a model by an engine on a number of cards, and the links between them."""

    model: ServedModel
    config: ServingConfig
    memory: EngineMemory
    card: GpuSpec
    links: LinkDatabase


def has_speed(engine: EngineName) -> bool:
    """Returns whether the speed of the engine is answered: published loads were compared."""
    return engine.value in speed_terms()


def serving_speed(
    served: ServedBy, load: ServingLoad, price: HourlyPrice | None, *, counts_users: bool = True
) -> ServingSpeed | None:
    """Returns how fast the load is served; None: the speed of this engine is not known.

    `counts_users`: whether the most users for whom limits hold are searched.

    Raises:
        UnknownLinkError: no usual link of the card is known.
    """
    if not has_speed(served.config.engine):
        return None
    terms = speed_terms()[served.config.engine.value]
    stepper = stepper_of(served, terms)
    found = _steady(served, stepper, load)
    low, high = _widened(terms.tokens.bounds(), found.spread)
    rate = SpeedSpan(
        low=found.requests_per_s / high, middle=found.requests_per_s,
        high=found.requests_per_s / low,
    )  # fmt: skip
    is_pooled = served.model.is_pooled
    tokens = rate.times(load.prompt if is_pooled else load.output)
    tpot = SpeedSpan(low=found.tpot_s * low, middle=found.tpot_s, high=found.tpot_s * high)
    ttft = _ttft(found, _widened(terms.first.bounds(), found.spread))
    limits = _limits(served.config, ttft, tpot)
    return ServingSpeed(
        output_tokens_per_s=rate.times(load.output),
        prompt_tokens_per_s=rate.times(load.prompt),
        is_pooled=is_pooled,
        requests_per_s=rate,
        tpot_s=tpot,
        ttft_s=ttft,
        alone_ttft_s=found.alone_ttft_s,
        last_ttft_s=found.last_ttft_s,
        writing=found.writing,
        is_waiting=found.is_waiting,
        prompt_steps=found.prompt_steps,
        cost=None if price is None else _cost(price, tokens, served.config.tensor_parallel),
        limits=limits,
        most_users=_most_users(served, stepper, load) if counts_users else None,
        loads=len(terms.tokens.ratios),
        sources=terms.tokens.sources,
    )


def stepper_of(served: ServedBy, terms: SpeedTerms) -> Stepper:
    """Returns what times the steps of the model on these cards."""
    config = served.config
    weights = weight_format(served.model, config)
    return Stepper(
        model=served.model,
        weights=weights,
        ranks=config.tensor_parallel,
        kv_element_bytes=ENGINES[config.engine].kv_bytes[config.kv_dtype or "auto"],
        card=served.card,
        topology=joined(served.card, served.links, config.tensor_parallel),
        host=terms.host,
        products=model_products(served.model, weights, config.tensor_parallel),
        has_graphs=not config.enforce_eager,
    )


def holding_of(memory: EngineMemory, engine: EngineName, load: ServingLoad) -> Holding:
    """Returns the tokens of a step, and the requests of this length that are there at once.

    TensorRT-LLM keeps a place for the whole request (GUARANTEED_NO_EVICT, its default); others give
    blocks as they are needed, so that in the mean half of the answer is there.
    """
    is_whole = engine is EngineName.TRTLLM
    length = load.length if is_whole else load.prompt + load.output // 2
    held = memory.pool.requests_at_once(max(0, memory.cache.middle), max(1, length))
    tokens = next(int(one.value) for one in memory.settings if one.name in _STEP_SETTINGS)
    return Holding(
        step_tokens=tokens,
        requests=max(1.0, min(held, memory.max_sequences or _MOST_USERS)),
    )


def speed_words(speed: ServingSpeed, model: ServedModel, config: ServingConfig) -> tuple[str, ...]:
    """Returns what the speed rests on, a sentence each."""
    found = [
        "speed: each user asks again when the answer is whole, and users are not in step; prompts "
        "share no prefix",
        f"interval of the speed: nine of ten of {speed.loads} published figures from "
        f"{speed.sources} sources, each with constants from the others",
    ]
    if model.is_pooled:
        found.append(
            "speed: of models that write text; no published run of vectors or scores was compared"
        )
    if model.has_states:
        found.append("speed: kernels of states (Mamba, delta net) by their bytes alone")
    if model.experts:
        found.append("speed: tokens choose experts evenly")
    if config.speculative_tokens:
        found.append("speed: without what speculative tokens gain or cost")
    if config.lora_rank is not None:
        found.append("speed: without the kernels of adapters")
    if speed.cost is not None:
        found.append(f"money: {speed.cost.basis}")
    return tuple(found)


def _steady(served: ServedBy, stepper: Stepper, load: ServingLoad) -> SteadyLoad:
    demand = Demand(users=load.users, prompt=load.prompt, output=max(1, load.output))
    return steady_load(stepper, demand, holding_of(served.memory, served.config.engine, load))


def _widened(ratios: tuple[float, float], spread: float) -> tuple[float, float]:
    """Returns the ends of the interval with the errors of the kernels' own times, which differ.

    Most published loads are of cards with tables; others have kernels that are less well known.
    """
    more = _NINE_OF_TEN * spread
    low, high = ratios
    return exp(-hypot(min(0.0, log(low)), more)), exp(hypot(max(0.0, log(high)), more))


def _ttft(found: SteadyLoad, ratios: tuple[float, float]) -> SpeedSpan:
    """Returns the mean time to the first token: users one by one, and at the high end all at once.

    Users that ask at once get their first tokens one after another, in the mean at half of the time
    of the last.
    """
    low, high = ratios
    at_once_s = max(found.ttft_s, (found.alone_ttft_s + found.last_ttft_s) / 2)
    return SpeedSpan(low=found.ttft_s * low, middle=found.ttft_s, high=at_once_s * high)


def _limits(config: ServingConfig, ttft: SpeedSpan, tpot: SpeedSpan) -> tuple[ServingLimit, ...]:
    pairs = (
        (ServingLimitKind.TTFT, config.ttft_s, ttft),
        (ServingLimitKind.TPOT, config.tpot_s, tpot),
    )
    return tuple(
        ServingLimit(kind=kind, limit_s=limit, verdict=limit_verdict(limit, span))
        for kind, limit, span in pairs
        if limit is not None
    )


def _most_users(served: ServedBy, stepper: Stepper, load: ServingLoad) -> int | None:
    """Returns the most users for whom the limits hold by the estimate; None: there are none."""
    config = served.config
    if config.ttft_s is None and config.tpot_s is None:
        return None
    held = int(holding_of(served.memory, config.engine, load).requests)

    def holds(users: int) -> bool:
        found = _steady(served, stepper, replace(load, users=users))
        return (config.ttft_s is None or found.ttft_s <= config.ttft_s) and (
            config.tpot_s is None or found.tpot_s <= config.tpot_s
        )

    low, high = 0, held + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def _cost(price: HourlyPrice, tokens: SpeedSpan, cards: int) -> TokenCost:
    """Returns the rent of all cards for a million output tokens."""

    def of(rent: float, tokens_per_s: float) -> float:
        return cards * rent / (tokens_per_s * _SECONDS_OF_HOUR) * _MILLION

    return TokenCost(
        low=of(price.low, tokens.high),
        middle=of((price.low + price.high) / 2, tokens.middle),
        high=of(price.high, tokens.low),
        currency=price.currency,
        basis=price.basis,
    )
