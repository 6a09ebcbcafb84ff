"""Turns a JSON document of `planner serving --json` back into a ServingPlan.

In: documents as ServingPlan.to_dict gives them, also of older planners. Out: ServingPlan. Where no
interval was printed, its ends are the estimate.
"""

from __future__ import annotations

from planner.config.serving import ServingLoad
from planner.memory.serving.engine import ByteSpan, MemoryPart, PartKind
from planner.results.document_record import Document, record_of
from planner.results.serving import (
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


def serving_of(document: Document) -> ServingPlan:
    """Returns the ServingPlan of a document."""
    middle, ends = _room(document), document["cache_interval_bytes"]
    cache = document["cache_bytes"]
    low, high = ends or (cache, cache)
    return record_of(
        ServingPlan,
        document,
        total_bytes=document["total_memory_bytes"],
        quant=document["weights_format"],
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
        low=middle if document["least"] is None else _room(document["least"]),
        middle=middle,
        high=middle if document["greatest"] is None else _room(document["greatest"]),
        load=_load(document["load"]),
        speed=_speed(document.get("speed")),
        remedies=tuple(
            record_of(ServingRemedy, one, requests=one["requests_at_once"])
            for one in document["remedies"]
        ),
        choices=tuple(map(_choice, document["choices"])),
        searched=document.get("is_searched", bool(document["choices"])),
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
    return record_of(
        ServingChoice,
        document,
        total_bytes=document["total_memory_bytes"],
        requests=document["requests_at_once"],
        cost_per_million=document.get("cost_per_million_output_tokens"),
    )


def _speed(document: Document | None) -> ServingSpeed | None:
    if document is None:
        return None
    return record_of(
        ServingSpeed,
        document,
        output_tokens_per_s=_span(document, "output_tokens_per_s"),
        prompt_tokens_per_s=_span(document, "prompt_tokens_per_s"),
        requests_per_s=_span(document, "requests_per_s"),
        tpot_s=_span(document, "time_per_output_token_s", "time_per_output_token_interval_s"),
        ttft_s=_span(document, "time_to_first_token_s", "time_to_first_token_interval_s"),
        alone_ttft_s=document["time_to_first_token_alone_s"],
        last_ttft_s=document["time_to_last_first_token_s"],
        writing=document["writing_requests"],
        cost=_cost(document),
        limits=tuple(
            ServingLimit(
                kind=ServingLimitKind(one["limit"]),
                limit_s=one["limit_s"],
                verdict=ServingLimitVerdict(one["verdict"]),
            )
            for one in document["limits"]
        ),
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
