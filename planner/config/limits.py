"""The limits of a check: words of the caller, parsed once, each with its unit.

In: words like {"max-peak": "20 GiB", "min-largest-batch": 64}. Out: Limits. Convention: bytes,
seconds and counts; a number without a unit is refused wherever a unit is possible.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from planner.errors import UsageError
from planner.units import parse_short_time, parse_size, parse_size_or_share

STRICT = "strict"
_MONEY = re.compile(
    r"\s*([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*([a-z]{3})\s*(?:/|\s+per\s+|\s+a\s+)\s*"
    r"(epoch|1m samples|million samples)\s*",
    re.IGNORECASE | re.ASCII,
)
_MONEY_FORM = "write it like 30 USD/epoch or 1.20 USD/1M samples"


class LimitKind(str, Enum):
    """What is limited."""

    FITS = "fits"
    """The step fits on the card; part of every check."""
    MAX_PEAK = "max-peak"
    """Device total, as the driver would show it."""
    MIN_MARGIN = "min-margin"
    """Usable memory that stays free, without the memory of `reserve`."""
    MIN_LARGEST_BATCH = "min-largest-batch"
    """Largest batch that fits."""
    MAX_STEP_TIME = "max-step-time"
    """Time of one optimizer step."""
    MAX_COST = "max-cost"
    """Money for an epoch or for a million samples, at the highest known rent."""
    MAX_GROWTH = "max-growth"
    """Growth of device total since the lock file was written."""


class LimitUnit(str, Enum):
    """The unit of a limit's amount."""

    BYTES = "bytes"
    """Bytes."""
    SHARE = "share"
    """A share: of the usable memory, or of the figure in the lock file."""
    SAMPLES = "samples"
    """Samples of a batch."""
    SECONDS = "s"
    """Seconds."""
    PER_EPOCH = "epoch"
    """Money for an epoch, in the limit's currency."""
    PER_MILLION = "1M samples"
    """Money for a million samples, in the limit's currency."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """One limit."""

    kind: LimitKind
    """What is limited."""
    amount: float
    """The limit, in `unit`."""
    unit: LimitUnit
    """The unit of the amount."""
    text: str
    """The words of the caller."""
    currency: str | None = None
    """Three letters, of a cost; else None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """All limits of a check; `strict` compares the unfavourable ends of the intervals."""

    limits: tuple[Limit, ...] = ()
    """In the order of LimitKind."""
    strict: bool = False
    """Whether the upper end of memory and time counts, and the suggested batch for the largest."""

    @property
    def need_largest_batch(self) -> bool:
        """Returns whether the largest batch has to be searched."""
        return any(limit.kind is LimitKind.MIN_LARGEST_BATCH for limit in self.limits)


LIMIT_WORDS = tuple(kind.value for kind in LimitKind if kind is not LimitKind.FITS)


def parse_limits(words: Mapping[str, object]) -> Limits:
    """Returns the limits; keys are the words of LimitKind, and "strict".

    Raises:
        UsageError: no such limit, or not an amount with a unit.
    """
    unknown = [name for name in words if name not in (*LIMIT_WORDS, STRICT)]
    if unknown:
        raise UsageError(
            f"there is no limit {unknown[0]!r}; these are {', '.join(LIMIT_WORDS)} and {STRICT}"
        )
    strict = words.get(STRICT, False)
    if not isinstance(strict, bool):
        raise UsageError(f"{STRICT} must be true or false, not {strict!r}")
    return Limits(
        limits=tuple(_limit(kind, words[kind.value]) for kind in LimitKind if kind.value in words),
        strict=strict,
    )


def _limit(kind: LimitKind, value: object) -> Limit:
    name = kind.value
    if kind is LimitKind.MIN_LARGEST_BATCH:
        return _of_batch(kind, value)
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise UsageError(f"{name} must be text with a unit, not {value!r}")
    text = str(value)
    if kind is LimitKind.MAX_PEAK:
        size_bytes = parse_size(text, name)
        return Limit(kind=kind, amount=size_bytes, unit=LimitUnit.BYTES, text=text)
    if kind is LimitKind.MAX_STEP_TIME:
        seconds = parse_short_time(text, name)
        return Limit(kind=kind, amount=seconds, unit=LimitUnit.SECONDS, text=text)
    if kind is LimitKind.MAX_COST:
        return _of_money(kind, text)
    amount, is_share = parse_size_or_share(text, name)
    unit = LimitUnit.SHARE if is_share else LimitUnit.BYTES
    return Limit(kind=kind, amount=amount, unit=unit, text=text)


def _of_batch(kind: LimitKind, value: object) -> Limit:
    text = str(value)
    if isinstance(value, bool) or not text.isdecimal() or int(text) < 1:
        raise UsageError(f"{kind.value} must be a whole number of samples from 1, not {value!r}")
    return Limit(kind=kind, amount=int(text), unit=LimitUnit.SAMPLES, text=text)


def _of_money(kind: LimitKind, text: str) -> Limit:
    match = _MONEY.fullmatch(text)
    if match is None:
        raise UsageError(
            f"{kind.value} {text!r} is not an amount, a currency and what it is for; {_MONEY_FORM}"
        )
    unit = LimitUnit.PER_EPOCH if match[3].lower() == "epoch" else LimitUnit.PER_MILLION
    return Limit(kind=kind, amount=float(match[1]), unit=unit, text=text, currency=match[2].upper())
