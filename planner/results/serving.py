"""The result of `planner.serving()`: a start of an engine on one card, and its JSON form.

In: EngineMemory and what follows from it. Out: ServingPlan. The JSON form is a contract
(schema_version 1): keys are added, never changed or removed.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

from planner.config.serving import EngineName, ServingLoad
from planner.memory.serving.engine import ByteSpan, EngineSetting, MemoryPart
from planner.results.estimate import SCHEMA_VERSION
from planner.results.result import Result
from planner.results.serving_speed import ServingSpeed
from planner.results.shown import Shown


class BootVerdict(str, Enum):
    """Whether the engine starts and holds what is wanted of it."""

    STARTS = "starts"
    """Also with the least cache of the interval."""
    LIKELY = "likely"
    """With the estimated cache, but not with the least."""
    UNLIKELY = "unlikely"
    """With the greatest cache of the interval alone."""
    FAILS = "fails"
    """Not even with that."""

    @property
    def is_expected(self) -> bool:
        """Returns whether it starts by the estimate."""
        return self in (BootVerdict.STARTS, BootVerdict.LIKELY)


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheRoom:
    """What a cache of a given size holds of requests of the longest length."""

    cache_bytes: int
    """Its bytes on one card; may be negative: nothing is left for it."""
    tokens: int
    """Tokens of such requests that it holds."""
    requests: float
    """Such requests at once."""
    longest: int
    """Tokens of the longest single request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingRemedy:
    """One change that makes it start."""

    words: str
    """What it changes."""
    flags: tuple[str, ...]
    """Options of `planner serving` for it."""
    requests: float
    """Requests of the longest length at once, then, with the least cache of the interval."""

    def to_dict(self) -> dict[str, Any]:
        """Returns the entry of the JSON list `remedies`."""
        return {
            "words": self.words, "flags": list(self.flags), "requests_at_once": self.requests,
        }  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingChoice:
    """A card and a number of them that serve what is wanted."""

    gpu: str
    """Id of the card's record."""
    tensor_parallel: int
    """How many of them."""
    total_bytes: int
    """Memory of all of them."""
    requests: float
    """Requests of the longest length at once, with the least cache of the interval."""
    usd_per_hour: float | None
    """Lowest rent of all of them; None: no price is known."""
    output_tokens_per_s: float | None = None
    """Tokens of answers per second under the load; None: there is none, or it is not known."""
    cost_per_million: float | None = None
    """Rent in USD for a million of them; None: it is not known."""

    def to_dict(self) -> dict[str, Any]:
        """Returns the entry of the JSON list `choices`."""
        return {
            "gpu": self.gpu,
            "tensor_parallel": self.tensor_parallel,
            "total_memory_bytes": self.total_bytes,
            "requests_at_once": self.requests,
            "usd_per_hour": self.usd_per_hour,
            "output_tokens_per_s": self.output_tokens_per_s,
            "cost_per_million_output_tokens": self.cost_per_million,
        }


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ServingPlan(Result, Shown):
    """A start of an engine: its memory by part, its cache, and what that holds."""

    target: str
    """The model in the words of the caller."""
    origin: str
    """A sentence on the place and the date of its config."""
    engine: EngineName
    """The engine whose rules were taken."""
    engine_version: str
    """The version of it whose rules were taken."""
    gpu: str
    """Id of the card's record."""
    gpu_name: str
    """Full name of the card."""
    total_bytes: int
    """Memory of one card, as PyTorch reports it."""
    tensor_parallel: int
    """Cards that share each layer."""
    quant: str
    """Format of the weights, in words."""
    kv_dtype: str
    """Dtype of keys and values, in the words of the engine."""
    budget_bytes: int
    """What the engine may use of one card, by its own rule."""
    budget_words: str
    """That rule, in words."""
    parts: tuple[MemoryPart, ...]
    """Memory of one card by part, without the cache."""
    cache: ByteSpan
    """Bytes of one card for keys, values and states."""
    has_interval: bool
    """Whether the ends of `cache` are from published starts; else all three are one figure."""
    max_model_len: int
    """Tokens of the longest request."""
    max_sequences: int | None
    """Requests of a step at most; None: the engine has no limit."""
    needed_bytes: int
    """Cache that the start, or the load, needs."""
    verdict: BootVerdict
    """Whether the engine starts, and holds the load."""
    low: CacheRoom
    """What the least cache of the interval holds."""
    middle: CacheRoom
    """What the estimated cache holds."""
    high: CacheRoom
    """What the greatest cache of the interval holds."""
    settings: tuple[EngineSetting, ...]
    """The engine's settings, given or by default."""
    command: str
    """The command that starts the engine so."""
    is_own_start: bool = False
    """Whether the figures are those of vLLM itself, which started on the emulated card."""
    has_cache: bool = True
    """Whether tokens are kept; an encoder keeps none, and what is left for a cache stays free."""
    beside_bytes: int = 0
    """Memory of each card that something else holds (`--beside`)."""
    load: ServingLoad | None = None
    """The requests that are to be served at once; None: none were named."""
    speed: ServingSpeed | None = None
    """How fast the load is served; None: there is no load, or it is not known for the engine."""
    remedies: tuple[ServingRemedy, ...] = ()
    """Single changes that make it start; none where it starts surely."""
    choices: tuple[ServingChoice, ...] = ()
    """Cards that serve it surely and keep the limits, where they were searched."""
    searched: bool = False
    """Whether cards were searched (`--find`)."""
    assumptions: tuple[str, ...] = ()
    """Choices made for the caller, a sentence each."""
    notes: tuple[str, ...] = ()
    """Sentences that are good to know."""
    warnings: tuple[str, ...] = ()
    """Reasons to doubt the figures, a sentence each."""

    @property
    def fits(self) -> bool:
        """Returns whether it starts, holds the load and keeps its limits, by the estimate."""
        return self.verdict.is_expected and (self.speed is None or self.speed.holds_limits)

    def to_dict(self) -> dict[str, Any]:
        """Returns the JSON document of `planner serving --json`."""
        return {
            "schema_version": SCHEMA_VERSION,
            "target": self.target,
            "origin": self.origin,
            "engine": self.engine.value,
            "engine_version": self.engine_version,
            "gpu": self.gpu,
            "gpu_name": self.gpu_name,
            "total_memory_bytes": self.total_bytes,
            "tensor_parallel": self.tensor_parallel,
            "weights_format": self.quant,
            "kv_dtype": self.kv_dtype,
            "budget_bytes": self.budget_bytes,
            "budget": self.budget_words,
            "parts": [
                {
                    "part": part.kind.value,
                    "bytes": part.size_bytes,
                    "is_budgeted": part.is_budgeted,
                }
                for part in self.parts
            ],
            "verdict": self.verdict.value,
            "needed_bytes": self.needed_bytes,
            "beside_bytes": self.beside_bytes,
            "is_own_start": self.is_own_start,
            "has_cache": self.has_cache,
            "cache_bytes": self.cache.middle,
            "cache_interval_bytes": (
                [self.cache.low, self.cache.high] if self.has_interval else None
            ),
            "max_model_length": self.max_model_len,
            "max_sequences": self.max_sequences,
            "cache_tokens": self.middle.tokens,
            "requests_at_once": self.middle.requests,
            "longest_context_length": self.middle.longest,
            "least": self._held(self.low) if self.has_interval else None,
            "greatest": self._held(self.high) if self.has_interval else None,
            "load": self._load(),
            "speed": None if self.speed is None else self.speed.to_dict(),
            "settings": [
                {"name": one.name, "value": one.value, "is_given": one.is_given}
                for one in self.settings
            ],
            "command": self.command,
            "remedies": [one.to_dict() for one in self.remedies],
            "choices": [one.to_dict() for one in self.choices],
            "is_searched": self.searched,
            "assumptions": list(self.assumptions),
            "notes": list(self.notes),
            "warnings": list(self.warnings),
        }

    def _load(self) -> dict[str, int] | None:
        if self.load is None:
            return None
        return {
            "users": self.load.users,
            "prompt_length": self.load.prompt,
            "output_length": self.load.output,
        }

    @staticmethod
    def _held(held: CacheRoom) -> dict[str, Any]:
        return {
            "cache_bytes": held.cache_bytes,
            "cache_tokens": held.tokens,
            "requests_at_once": held.requests,
            "longest_context_length": held.longest,
        }
