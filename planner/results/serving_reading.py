"""Turns a JSON document of `planner serving --json` back into a ServingPlan.

In: documents as ServingPlan.to_dict gives them, also of older planners. Out: ServingPlan. Where no
interval was printed, its ends are the estimate.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from planner.config.serving import EngineName, ServingLoad
from planner.memory.serving.engine import ByteSpan, EngineSetting, MemoryPart, PartKind
from planner.results.serving import (
    BootVerdict,
    CacheRoom,
    ServingChoice,
    ServingPlan,
    ServingRemedy,
)
from planner.results.serving_speed import (
    ServingLimit,
    ServingLimitKind,
    ServingLimitVerdict,
    ServingSpeed,
    SpeedSpan,
    TokenCost,
)

Document = Mapping[str, Any]


def serving_of(document: Document) -> ServingPlan:
    """Returns the ServingPlan of a document."""
    middle, ends = _room(document), document["cache_interval_bytes"]
    cache = document["cache_bytes"]
    low, high = ends or (cache, cache)
    return ServingPlan(
        target=str(document["target"]),
        origin=document["origin"],
        engine=EngineName(document["engine"]),
        engine_version=document["engine_version"],
        gpu=document["gpu"],
        gpu_name=document["gpu_name"],
        total_bytes=document["total_memory_bytes"],
        tensor_parallel=document["tensor_parallel"],
        quant=document["weights_format"],
        kv_dtype=document["kv_dtype"],
        budget_bytes=document["budget_bytes"],
        budget_words=document["budget"],
        parts=tuple(
            MemoryPart(
                kind=PartKind(one["part"]), size_bytes=one["bytes"],
                is_budgeted=one["is_budgeted"],
            )
            for one in document["parts"]
        ),
        cache=ByteSpan(low=low, middle=cache, high=high),
        has_interval=ends is not None,
        max_model_len=document["max_model_length"],
        max_sequences=document["max_sequences"],
        needed_bytes=document["needed_bytes"],
        has_cache=document.get("has_cache", True),
        beside_bytes=document.get("beside_bytes", 0),
        verdict=BootVerdict(document["verdict"]),
        low=middle if document["least"] is None else _room(document["least"]),
        middle=middle,
        high=middle if document["greatest"] is None else _room(document["greatest"]),
        settings=tuple(EngineSetting(**one) for one in document["settings"]),
        command=document["command"],
        load=_load(document["load"]),
        speed=_speed(document.get("speed")),
        remedies=tuple(
            ServingRemedy(
                words=one["words"], flags=tuple(one["flags"]), requests=one["requests_at_once"]
            )
            for one in document["remedies"]
        ),
        choices=tuple(map(_choice, document["choices"])),
        searched=document.get("is_searched", bool(document["choices"])),
        assumptions=tuple(document["assumptions"]),
        notes=tuple(document["notes"]),
        warnings=tuple(document["warnings"]),
    )  # fmt: skip


def _room(document: Document) -> CacheRoom:
    return CacheRoom(
        cache_bytes=document["cache_bytes"],
        tokens=document["cache_tokens"],
        requests=document["requests_at_once"],
        longest=document["longest_context_length"],
    )


def _load(document: Document | None) -> ServingLoad | None:
    if document is None:
        return None
    return ServingLoad(
        users=document["users"],
        prompt=document["prompt_length"],
        output=document["output_length"],
    )


def _choice(document: Document) -> ServingChoice:
    return ServingChoice(
        gpu=document["gpu"],
        tensor_parallel=document["tensor_parallel"],
        total_bytes=document["total_memory_bytes"],
        requests=document["requests_at_once"],
        usd_per_hour=document["usd_per_hour"],
        output_tokens_per_s=document.get("output_tokens_per_s"),
        cost_per_million=document.get("cost_per_million_output_tokens"),
    )


def _speed(document: Document | None) -> ServingSpeed | None:
    if document is None:
        return None
    return ServingSpeed(
        output_tokens_per_s=_span(document, "output_tokens_per_s"),
        prompt_tokens_per_s=_span(document, "prompt_tokens_per_s"),
        is_pooled=document["is_pooled"],
        requests_per_s=_span(document, "requests_per_s"),
        tpot_s=_span(document, "time_per_output_token_s", "time_per_output_token_interval_s"),
        ttft_s=_span(document, "time_to_first_token_s", "time_to_first_token_interval_s"),
        alone_ttft_s=document["time_to_first_token_alone_s"],
        last_ttft_s=document["time_to_last_first_token_s"],
        writing=document["writing_requests"],
        is_waiting=document["is_waiting"],
        prompt_steps=document["prompt_steps"],
        cost=_cost(document),
        limits=tuple(
            ServingLimit(
                kind=ServingLimitKind(one["limit"]),
                limit_s=one["limit_s"],
                verdict=ServingLimitVerdict(one["verdict"]),
            )
            for one in document["limits"]
        ),
        most_users=document["most_users"],
        loads=document["interval_loads"],
        sources=document["interval_sources"],
    )


def _span(document: Document, name: str, interval: str | None = None) -> SpeedSpan:
    low, high = document[interval or f"{name}_interval"]
    return SpeedSpan(low=low, middle=document[name], high=high)


def _cost(document: Document) -> TokenCost | None:
    kind = "prompt" if document["is_pooled"] else "output"
    name = f"cost_per_million_{kind}_tokens"
    if document[name] is None:
        return None
    span = _span(document, name)
    return TokenCost(
        low=span.low,
        middle=span.middle,
        high=span.high,
        currency=document["currency"],
        basis=document["price"],
    )
