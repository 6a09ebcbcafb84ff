"""Which cards serve a model: of each kind the fewest that start surely and hold the limits.

In: ServedModel, ServingConfig, the cards of the database. Out: ServingChoice. Convention: a choice
starts also with the least cache of the interval, and its limits hold by the estimate. With a load
the cheapest tokens come first, without one the least memory.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from planner.config.serving import ServingConfig
from planner.cost.price import HourlyPrice, rent
from planner.errors import UnknownLinkError, UsageError
from planner.estimation.serving_speed import ServedBy, serving_speed
from planner.estimation.serving_start import RANKS, needed_bytes, serving_card, verdict_of
from planner.hardware.database import LinkDatabase
from planner.hardware.specs import GpuSpec, Vendor
from planner.memory.kv_cache.facts import ServedModel
from planner.memory.serving.engine import EngineMemory
from planner.memory.serving.engines import engine_memory
from planner.results.serving import BootVerdict, ServingChoice
from planner.results.serving_speed import ServingSpeed

_MOST_CHOICES = 6


def choices(
    model: ServedModel, config: ServingConfig, specs: Iterable[GpuSpec], links: LinkDatabase
) -> tuple[ServingChoice, ...]:
    """Returns the cards that serve it, each with the fewest of them."""
    nvidia = (spec for spec in specs if spec.vendor is Vendor.NVIDIA)
    found = [one for spec in nvidia if (one := _fewest(model, config, spec, links)) is not None]
    found.sort(key=_order)
    return tuple(found[:_MOST_CHOICES])


def _order(one: ServingChoice) -> tuple[float, int, int]:
    cost = one.cost_per_million
    first = float("inf") if cost is None else cost
    return (first, one.total_bytes, one.tensor_parallel)


def _fewest(
    model: ServedModel, config: ServingConfig, spec: GpuSpec, links: LinkDatabase
) -> ServingChoice | None:
    for ranks in RANKS:
        changed = replace(config, tensor_parallel=ranks)
        card = serving_card(spec, spec.usable_memory_bytes, config.beside_bytes)
        try:
            memory, _ = engine_memory(model, changed, card)
        except UsageError:
            continue  # the heads, or the engine, do not take this number
        if verdict_of(memory, needed_bytes(memory, changed), card) is not BootVerdict.STARTS:
            continue
        price = rent(spec.prices)
        speed = _speed(model, changed, memory, spec, links, price)
        if speed is None and (config.ttft_s is not None or config.tpot_s is not None):
            return None  # its speed is not known, so that a limit cannot be judged
        if speed is None or speed.holds_limits:
            return _choice(spec, ranks, memory, speed, price)
    return None


def _speed(
    model: ServedModel,
    config: ServingConfig,
    memory: EngineMemory,
    spec: GpuSpec,
    links: LinkDatabase,
    price: HourlyPrice | None,
) -> ServingSpeed | None:
    if config.load is None:
        return None
    served = ServedBy(model=model, config=config, memory=memory, card=spec, links=links)
    try:
        return serving_speed(served, config.load, price, counts_users=False)
    except UnknownLinkError:
        return None


def _choice(
    spec: GpuSpec,
    ranks: int,
    memory: EngineMemory,
    speed: ServingSpeed | None,
    price: HourlyPrice | None,
) -> ServingChoice:
    cost = None if speed is None else speed.cost
    return ServingChoice(
        gpu=spec.id,
        tensor_parallel=ranks,
        total_bytes=ranks * spec.usable_memory_bytes,
        requests=memory.pool.requests_at_once(memory.cache.low, memory.max_model_len),
        usd_per_hour=None if price is None else ranks * price.low,
        output_tokens_per_s=None if speed is None else speed.output_tokens_per_s.middle,
        cost_per_million=None if cost is None else cost.middle,
    )
