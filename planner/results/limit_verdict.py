"""Compares the figures of a card with one limit.

In: CardFigures of now and of the lock file, a Limit. Out: LimitResult. Convention: a figure that is
not known makes a limit undecided; that is never taken for within.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from planner.config.limits import Limit, LimitKind, LimitUnit
from planner.results.card_figures import CardFigures
from planner.results.device_estimate import FitVerdict
from planner.units import format_bytes, format_duration, format_percent, format_significant

FITS = Limit(kind=LimitKind.FITS, amount=0, unit=LimitUnit.BYTES, text="")
_NO_UPPER_END = "no interval is known, and strict compares its upper end"


class LimitVerdict(str, Enum):
    """Whether a limit holds."""

    WITHIN = "within"
    """It holds."""
    EXCEEDED = "exceeded"
    """It does not."""
    UNDECIDED = "undecided"
    """The figure is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitResult:
    """One limit and the figure that was compared with it, in the limit's own unit."""

    limit: Limit
    verdict: LimitVerdict
    found: float | None
    allowed: float
    sentence: str
    """The finding in words."""

    def to_dict(self) -> dict[str, Any]:
        """Returns the entry of the JSON list `limits`."""
        return {
            "limit": self.limit.kind.value,
            "text": self.limit.text or None,
            "unit": self.limit.unit.value,
            "currency": self.limit.currency,
            "verdict": self.verdict.value,
            "found": self.found,
            "allowed": self.allowed,
            "sentence": self.sentence,
        }


def judged(
    limit: Limit, figures: CardFigures, locked: CardFigures | None, *, strict: bool
) -> LimitResult:
    """Returns whether the limit holds."""
    judge = {
        LimitKind.FITS: _fits,
        LimitKind.MAX_PEAK: _peak,
        LimitKind.MIN_MARGIN: _margin,
        LimitKind.MIN_LARGEST_BATCH: _batch,
        LimitKind.MAX_STEP_TIME: _step_time,
        LimitKind.MAX_COST: _cost,
    }.get(limit.kind)
    if judge is None:
        return _growth(limit, figures, locked)
    return judge(limit, figures, strict)


def _fits(limit: Limit, figures: CardFigures, strict: bool) -> LimitResult:
    total = _total_bytes(figures, strict)
    if total is None:
        return _undecided(limit, figures.usable_memory_bytes, _NO_UPPER_END)
    needed, usable = total + figures.reserve_bytes, figures.usable_memory_bytes
    holds = figures.verdict is FitVerdict.FITS or (
        not strict and figures.verdict is FitVerdict.TIGHT
    )
    of = f"{_peak_words(strict)} {format_bytes(total)}"
    if figures.reserve_bytes:
        of = f"{of} and {format_bytes(figures.reserve_bytes)} kept free"
    if holds:
        said = f"fits: {of}, of {format_bytes(usable)} usable memory"
    else:
        missing = format_bytes(max(1, needed - usable))
        said = f"does not fit: {of}, {missing} more than {format_bytes(usable)} usable memory"
    return _result(limit, holds, needed, usable, said)


def _peak(limit: Limit, figures: CardFigures, strict: bool) -> LimitResult:
    total = _total_bytes(figures, strict)
    if total is None:
        return _undecided(limit, limit.amount, _NO_UPPER_END)
    return _at_most(limit, total, _peak_words(strict), format_bytes)


def _margin(limit: Limit, figures: CardFigures, strict: bool) -> LimitResult:
    total = _total_bytes(figures, strict)
    if total is None:
        return _undecided(limit, limit.amount, _NO_UPPER_END)
    free = figures.usable_memory_bytes - figures.reserve_bytes - total
    least = limit.amount
    if limit.unit is LimitUnit.SHARE:
        least = limit.amount * figures.usable_memory_bytes
    holds = free >= least
    below = "" if holds else f"{format_bytes(math.ceil(least - free))} less than "
    said = f"free memory {format_bytes(free)}, {below}{limit.kind.value} {limit.text}"
    return _result(limit, holds, free, least, said)


def _batch(limit: Limit, figures: CardFigures, strict: bool) -> LimitResult:
    found = figures.suggested_batch if strict else figures.largest_batch
    end = " at the upper end of the interval" if strict else ""
    if found is None:
        return _undecided(limit, limit.amount, f"the largest batch{end} is not known")
    holds = found >= limit.amount
    below = "" if holds else "below "
    said = f"largest batch {found}{end}, {below}{limit.kind.value} {limit.text}"
    return _result(limit, holds, found, limit.amount, said)


def _step_time(limit: Limit, figures: CardFigures, strict: bool) -> LimitResult:
    found = figures.step_upper_s if strict else figures.step_s
    if found is None:
        reason = "the time of the step is not known" if figures.step_s is None else _NO_UPPER_END
        return _undecided(limit, limit.amount, reason)
    words = "upper end of the step time" if strict else "step time"
    return _at_most(limit, found, words, format_duration)


def _cost(limit: Limit, figures: CardFigures, strict: bool) -> LimitResult:
    is_epoch = limit.unit is LimitUnit.PER_EPOCH
    found = figures.cost_per_epoch if is_epoch else figures.cost_per_million
    if found is None:
        missing = "price or dataset-size" if is_epoch else "price"
        return _undecided(limit, limit.amount, f"the cost is not known: {missing} is missing")
    if figures.currency != limit.currency:
        return _undecided(
            limit, limit.amount, f"the price is in {figures.currency}, not in {limit.currency}"
        )
    for_ = "an epoch" if is_epoch else "1M samples"

    def money(amount: float) -> str:
        return f"{format_significant(amount)} {limit.currency}"

    return _at_most(limit, found, f"cost of {for_}", money)


def _growth(limit: Limit, figures: CardFigures, locked: CardFigures | None) -> LimitResult:
    if locked is None:
        return _undecided(
            limit, limit.amount, "the lock file has no figure of it: run planner check --update"
        )
    grown = figures.device_total_bytes - locked.device_total_bytes
    is_share = limit.unit is LimitUnit.SHARE
    found = grown / locked.device_total_bytes if is_share else grown
    holds = found <= limit.amount
    percent = format_percent(grown, locked.device_total_bytes)
    said = f"peak grew by {format_bytes(grown)} ({percent}) since the lock file"
    if grown <= 0:
        said = "peak did not grow since the lock file"
    said += f", {'' if holds else 'above '}{limit.kind.value} {limit.text}"
    return _result(limit, holds, found, limit.amount, said)


def _total_bytes(figures: CardFigures, strict: bool) -> int | None:
    return figures.device_total_upper_bytes if strict else figures.device_total_bytes


def _peak_words(strict: bool) -> str:
    return "upper end of the peak" if strict else "peak"


def _at_most(limit: Limit, found: float, words: str, shown: Callable[[Any], str]) -> LimitResult:
    holds = found <= limit.amount
    said = f"{words} {shown(found)}, {limit.kind.value} {limit.text}"
    if not holds:
        over = shown(found - limit.amount)
        said = f"{words} {shown(found)}, {over} above {limit.kind.value} {limit.text}"
    return _result(limit, holds, found, limit.amount, said)


def _result(limit: Limit, holds: bool, found: float, allowed: float, said: str) -> LimitResult:
    verdict = LimitVerdict.WITHIN if holds else LimitVerdict.EXCEEDED
    return LimitResult(limit=limit, verdict=verdict, found=found, allowed=allowed, sentence=said)


def _undecided(limit: Limit, allowed: float, reason: str) -> LimitResult:
    words = f"{limit.kind.value} {limit.text}".strip()
    return LimitResult(
        limit=limit,
        verdict=LimitVerdict.UNDECIDED,
        found=None,
        allowed=allowed,
        sentence=f"{words} cannot be decided: {reason}",
    )
