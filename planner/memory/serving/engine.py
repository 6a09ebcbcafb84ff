"""What all engines answer: the parts of a card's memory, the cache, and what it holds.

In: nothing; each engine fills it. Out: frozen records. Convention: a figure that is
estimated has bounds.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class ByteSpan:
    """Bytes: the estimate, and the bounds between which nine of ten published starts are."""

    low: int
    """Bytes of the lower bound; may be negative: less than nothing is left."""
    middle: int
    """Bytes of the estimate."""
    high: int
    """Bytes of the upper bound."""


class PartKind(str, Enum):
    """A part of a card's memory under an engine."""

    WEIGHTS = "weights"
    """Weights of the rank, with tables of positions."""
    ADAPTERS = "adapters"
    """Slots for LoRA adapters."""
    DRAFT = "draft"
    """Weights of a separate model that proposes tokens."""
    OUTSIDE = "outside"
    """Outside PyTorch: CUDA's and NCCL's own memory."""
    ACTIVATIONS = "activations"
    """Peak of a step above weights and cache."""
    GRAPHS = "graphs"
    """CUDA graphs."""
    CACHE = "cache"
    """Keys, values and states."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryPart:
    """A part of the memory of one card."""

    kind: PartKind
    """What it is."""
    size_bytes: int
    """Its bytes on one card."""
    is_budgeted: bool = True
    """Whether it comes out of the share that the engine may use."""


class CachePool(Protocol):
    """A cache of a given size, as an engine divides it."""

    def request_bytes(self, length: int) -> int:
        """Returns the bytes of one request of `length` tokens."""
        ...

    def requests_at_once(self, cache_bytes: int, length: int) -> float:
        """Returns how many requests of `length` tokens the cache holds."""
        ...

    def tokens(self, cache_bytes: int, length: int) -> int:
        """Returns the tokens of requests of `length` that the cache holds."""
        ...

    def longest(self, cache_bytes: int, limit: int) -> int:
        """Returns the longest request that fits, up to `limit` tokens."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSetting:
    """A setting of the engine."""

    name: str
    """Its name in the engine's command line, without the dashes."""
    value: str
    """Its value, as text."""
    is_given: bool
    """Whether it was given; else it is the engine's default."""


def settings_of(*rows: tuple[str, str, object]) -> tuple[EngineSetting, ...]:
    """Returns settings from names, values, and what was given for each (None: nothing)."""
    return tuple(
        EngineSetting(name=name, value=value, is_given=given is not None)
        for name, value, given in rows
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineMemory:
    """A start of an engine on one card."""

    version: str
    """The version whose rules were taken."""
    budget_bytes: int
    """What the engine may use, by its own rule."""
    budget_words: str
    """That rule, in words."""
    parts: tuple[MemoryPart, ...]
    """All parts but the cache."""
    cache: ByteSpan
    """Bytes for keys, values and states; low may be negative: it may not start."""
    pool: CachePool
    max_model_len: int
    max_sequences: int | None
    """Requests of a step at most; None: the engine has no limit."""
    settings: tuple[EngineSetting, ...]
    basis: str | None
    """Where the bounds are from; None: no published starts of the engine, so there are none."""
    notes: tuple[str, ...] = ()
    is_own_start: bool = False
    """Whether the engine itself said the figures, started on the emulated card."""
