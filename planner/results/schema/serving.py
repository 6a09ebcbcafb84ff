"""`planner serving`."""

from __future__ import annotations

from typing import Annotated, Literal, TypedDict

from planner.results.schema.described import Range, described


class MemoryPartDocument(TypedDict):
    """A part of the memory of one card."""

    part: Annotated[str, described("`weights`, `adapters`, `draft`, `outside`, `activations` ...")]
    bytes: Annotated[int, described("its size on one card")]
    is_budgeted: Annotated[bool, described("whether it comes out of the engine's share")]


class CacheRoomDocument(TypedDict):
    """What a cache holds of requests of the longest length."""

    cache_bytes: Annotated[int, described("its size on one card")]
    cache_tokens: Annotated[int, described("tokens of such requests")]
    requests_at_once: Annotated[float, described("such requests")]
    longest_context_length: Annotated[int, described("tokens of the longest single request")]


class ServingLoadDocument(TypedDict):
    """The requests that are to be served at once."""

    users: Annotated[int, described("how many")]
    prompt_length: Annotated[int, described("tokens of each prompt")]
    output_length: Annotated[int, described("tokens of each answer")]


class ServingLimitDocument(TypedDict):
    """A limit that was given."""

    limit: Annotated[str, described('`"ttft"` or `"tpot"`')]
    limit_s: Annotated[float, described("the longest time in the mean")]
    verdict: Annotated[str, described("`holds`, `likely`, `unlikely` or `fails`")]


class ServingSpeedDocument(TypedDict):
    """How fast the load is served, in its steady state."""

    output_tokens_per_s: Annotated[float, described("of all users together")]
    output_tokens_per_s_interval: Annotated[Range, described("its interval")]
    prompt_tokens_per_s: Annotated[float, described("tokens of prompts, of all users together")]
    prompt_tokens_per_s_interval: Annotated[Range, described("its interval")]
    is_pooled: Annotated[bool, described("whether vectors or scores are given, and no text")]
    user_tokens_per_s: Annotated[float, described("that one user sees after the first; 0: none")]
    user_tokens_per_s_interval: Annotated[Range, described("its interval")]
    requests_per_s: Annotated[float, described("of all users together")]
    requests_per_s_interval: Annotated[Range, described("its interval")]
    time_per_output_token_s: Annotated[float, described("after the first, in the mean")]
    time_per_output_token_interval_s: Annotated[Range, described("its interval")]
    time_to_first_token_s: Annotated[float, described("in the mean")]
    time_to_first_token_interval_s: Annotated[
        Range, described("its interval; high: all users ask at once")
    ]
    time_to_first_token_alone_s: Annotated[float, described("of a request that is alone")]
    time_to_last_first_token_s: Annotated[float, described("of the last, if all ask at once")]
    writing_requests: Annotated[float, described("that write at the same time, in the mean")]
    is_waiting: Annotated[bool, described("whether requests wait for a place")]
    prompt_steps: Annotated[float, described("share of the steps that read prompts")]
    cost_per_million_output_tokens: Annotated[
        float | None, described("rent of all cards; null: no price is known")
    ]
    cost_per_million_output_tokens_interval: Annotated[Range | None, described("its interval")]
    cost_per_million_prompt_tokens: Annotated[
        float | None, described("the same of vectors and scores; null: text is written")
    ]
    cost_per_million_prompt_tokens_interval: Annotated[Range | None, described("its interval")]
    currency: Annotated[str | None, described("three letters")]
    price: Annotated[str | None, described("where the rent is from")]
    limits: Annotated[list[ServingLimitDocument], described("those of `--ttft` and `--tpot`")]
    most_users: Annotated[int | None, described("for whom they hold; null: none were given")]
    interval_loads: Annotated[int, described("published figures behind the intervals")]
    interval_sources: Annotated[int, described("sources of these")]


class EngineSettingDocument(TypedDict):
    """A setting of the engine."""

    name: Annotated[str, described("in the engine's command line, without dashes")]
    value: Annotated[str, described("as text")]
    is_given: Annotated[bool, described("whether it was given; else the engine's default")]


class ServingRemedyDocument(TypedDict):
    """A change that makes the engine start."""

    words: Annotated[str, described("what it changes")]
    flags: Annotated[list[str], described("options of `planner serving` for it")]
    requests_at_once: Annotated[float, described("then, with the least cache of the interval")]


class ServingChoiceDocument(TypedDict):
    """A card and a number of them that serve what is wanted."""

    gpu: Annotated[str, described("`id` of the card's record")]
    tensor_parallel: Annotated[int, described("how many of them")]
    total_memory_bytes: Annotated[int, described("memory of all of them")]
    requests_at_once: Annotated[float, described("with the least cache of the interval")]
    usd_per_hour: Annotated[float | None, described("lowest rent of all of them")]
    output_tokens_per_s: Annotated[float | None, described("under the load; null: not known")]
    cost_per_million_output_tokens: Annotated[float | None, described("in USD")]


class ServingDocument(TypedDict):
    """What `planner serving --json` prints."""

    schema_version: Annotated[Literal[1], described("version of this document")]
    target: Annotated[str, described("the target as given")]
    origin: Annotated[str, described("where its config is from")]
    engine: Annotated[str, described("in the words of `--engine`")]
    engine_version: Annotated[str, described("whose rules were taken")]
    gpu: Annotated[str, described("`id` of the card's record")]
    gpu_name: Annotated[str, described("name of the device")]
    total_memory_bytes: Annotated[int, described("memory of one card, as PyTorch reports it")]
    tensor_parallel: Annotated[int, described("cards that share each layer")]
    weights_format: Annotated[str, described("format of the weights, in words")]
    kv_dtype: Annotated[str, described("of keys and values, in the engine's words")]
    budget_bytes: Annotated[int, described("what the engine may use of one card")]
    budget: Annotated[str, described("the rule for it")]
    parts: Annotated[list[MemoryPartDocument], described("memory by part, without the cache")]
    verdict: Annotated[str, described("`starts`, `likely`, `unlikely` or `fails`")]
    needed_bytes: Annotated[int, described("cache that the start, or the load, needs")]
    beside_bytes: Annotated[int, described("of each card, held by something else (`--beside`)")]
    is_own_start: Annotated[bool, described("vllm itself started on the emulated card")]
    has_cache: Annotated[bool, described("false: an encoder, which keeps none of its tokens")]
    cache_bytes: Annotated[int, described("of one card; below 0: too little before any cache")]
    cache_interval_bytes: Annotated[list[int] | None, described("null: no published starts")]
    max_model_length: Annotated[int, described("tokens of the longest request")]
    max_sequences: Annotated[int | None, described("requests of a step at most; null: no limit")]
    cache_tokens: Annotated[int, described("tokens of such requests in the cache")]
    requests_at_once: Annotated[float, described("such requests in the cache")]
    longest_context_length: Annotated[int, described("tokens of the longest single request")]
    least: Annotated[CacheRoomDocument | None, described("the least cache; null: no interval")]
    greatest: Annotated[CacheRoomDocument | None, described("the greatest cache")]
    load: Annotated[ServingLoadDocument | None, described("null: none was named")]
    speed: Annotated[ServingSpeedDocument | None, described("null: no load, or not known")]
    settings: Annotated[list[EngineSettingDocument], described("given or by default")]
    command: Annotated[str, described("that starts the engine so")]
    remedies: Annotated[list[ServingRemedyDocument], described("single changes that help")]
    choices: Annotated[list[ServingChoiceDocument], described("cards that `--find` found")]
    is_searched: Annotated[bool, described("whether cards were searched (`--find`)")]
    assumptions: Annotated[list[str], described("sentences")]
    notes: Annotated[list[str], described("sentences")]
    warnings: Annotated[list[str], described("sentences")]
