"""Checks the caller's words for an engine that serves.

In: keyword options such as {"engine": "vllm", "tensor_parallel": 2}. Out: ServingConfig.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from planner.config.option_words import option_of
from planner.config.parse import choice, flag
from planner.config.serving import (
    EngineName,
    Runner,
    ServingConfig,
    ServingLoad,
    ServingOptions,
)
from planner.errors import UsageError
from planner.units import parse_short_time

_COUNTS = (
    "tensor_parallel", "max_model_len", "max_num_seqs", "max_num_batched_tokens", "lora_rank",
    "lora_max",
)  # fmt: skip
_LOAD = ("users", "prompt", "output")
_TIMES = ("ttft", "tpot")
_VERSION = re.compile(r"v?(\d+(?:\.\d+){0,2})(?!\d).*")


def serving_config(words: Mapping[str, Any]) -> ServingConfig:
    """Returns the settings of these words; None and a missing word are the engine's default.

    Raises:
        UsageError: a value that an option does not take, or a load that is not whole.
    """
    unknown = sorted(set(words) - set(ServingOptions.__annotations__))
    if unknown:
        raise UsageError(
            f"serving takes no {', '.join(unknown)}; it takes "
            f"{', '.join(ServingOptions.__annotations__)}"
        )
    given = {name: value for name, value in words.items() if value is not None}
    load = _load(given)
    values: dict[str, Any] = {
        name: _count(name, given[name], 1) for name in _COUNTS if name in given
    }
    if load is not None:
        values.setdefault("max_model_len", load.length)
    if "utilization" in given:
        values["utilization"] = _share(given["utilization"])
    if "engine_version" in given:
        values["version"] = _version(given["engine_version"])
    if "speculative_tokens" in given:
        values["speculative_tokens"] = _count("speculative_tokens", given["speculative_tokens"], 0)
    if "lora_max" in given and "lora_rank" not in given:
        raise UsageError(
            "lora_max (--lora-max) was given without lora_rank: adapters have a rank, like "
            "--lora-rank 16 --lora-max 4"
        )
    if "draft" in given and not values.get("speculative_tokens"):
        raise UsageError(
            "draft (--draft) was given without speculative_tokens: a draft model proposes some in "
            "each step, like --speculative-tokens 5"
        )
    for name in ("enforce_eager", "prefix_caching"):
        if name in given:
            values[name] = flag(given[name], name)
    for name in ("quant", "kv_dtype", "draft"):
        if name in given:
            values[name] = _text(name, given[name])
    for name in _TIMES:
        if name in given:
            values[f"{name}_s"] = _time(name, given[name], load)
    return ServingConfig(
        runner=choice(Runner, given["runner"], "runner") if "runner" in given else None,
        engine=choice(EngineName, given.get("engine", EngineName.VLLM), "engine"),
        load=load,
        **values,
    )


def _load(given: Mapping[str, Any]) -> ServingLoad | None:
    named = [name for name in _LOAD if name in given]
    if not named:
        return None
    if set(named) != set(_LOAD) and set(named) != {"users", "prompt"}:
        missing = ", ".join(option_of(name) for name in _LOAD if name not in given)
        raise UsageError(
            f"{', '.join(named)} was given without {missing}: a load has users, tokens of their "
            "prompts and of the answers, like --users 50 --prompt 2000 --output 500"
        )
    counts = {name: _count(name, given[name], 1) for name in named}
    return ServingLoad(
        users=counts["users"], prompt=counts["prompt"], output=counts.get("output", 0)
    )


def _time(name: str, value: Any, load: ServingLoad | None) -> float:
    if load is None:
        raise UsageError(
            f"{name} ({option_of(name)}) limits a load, and none was named: add --users, --prompt "
            "and --output, like --users 50 --prompt 2000 --output 500"
        )
    return parse_short_time(str(value), name)


def _count(name: str, value: Any, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise UsageError(
            f"{name} ({option_of(name)}) must be a whole number of at least {least}, not {value!r}"
        )
    return value


def _share(value: Any) -> float:
    try:
        share = float(value)
    except (TypeError, ValueError):
        share = 0.0
    if not 0 < share <= 1:
        raise UsageError(
            f"utilization (--utilization) is a share of memory above 0 and at most 1, like 0.9, "
            f"not {value!r}"
        )
    return share


def _version(value: Any) -> tuple[int, ...]:
    match = _VERSION.fullmatch(str(value).strip())
    if match is None:
        raise UsageError(
            f"engine_version {value!r} (--engine-version) is no version: write it like 0.11.0"
        )
    return tuple(int(part) for part in match[1].split("."))


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise UsageError(f"{name} ({option_of(name)}) must be a name, not {value!r}")
    return value.strip()
