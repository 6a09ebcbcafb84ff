"""The figures of one card in the form that a lock file keeps, and two of them compared.

In: a DeviceEstimate. Out: CardFigures, FigureChange. Convention: bytes, seconds; times and money
are rounded to six digits, so that equal runs give equal files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from planner.preflight.source_names import SourceName
from planner.results.device_estimate import DeviceEstimate, FitVerdict
from planner.results.peak_parts import (
    Change,
    PeakParts,
    changes,
    parts_of,
    parts_of_summary,
)

_DIGITS = 6
_OF_THE_PARTS = ("category_bytes", "module_bytes", "operator_bytes", "source_bytes")


@dataclass(frozen=True, slots=True, kw_only=True)
class CardFigures:
    """Figures of one card; None: not known."""

    verdict: FitVerdict
    """Whether it fits, and whether it does at the upper end of the interval too."""
    device_total_bytes: int
    """Memory of the card that the step takes, as the driver would show it."""
    device_total_upper_bytes: int | None
    """Upper end of its interval."""
    peak_allocated_bytes: int
    """Most bytes in tensors at a time."""
    peak_reserved_bytes: int
    """Most bytes that the allocator holds at a time."""
    peak_phase: str | None
    """Phase of the step in which peak allocated is."""
    usable_memory_bytes: int
    """Memory of the card that a process can have."""
    reserve_bytes: int
    """Memory that is kept free."""
    largest_batch: int | None
    """Largest batch that fits."""
    suggested_batch: int | None
    """Largest batch that fits at the upper end of the interval too."""
    step_s: float | None
    """Time of one optimizer step."""
    step_upper_s: float | None
    """Upper end of its interval."""
    cost_per_million: float | None
    """Money for a million samples, at the highest known rent."""
    cost_per_epoch: float | None
    """Money for an epoch, at the highest known rent."""
    currency: str | None
    """Three letters."""
    parts: PeakParts
    """Bytes at the peak by category, module, operator and source line."""

    def to_dict(self) -> dict[str, Any]:
        """Returns the figures as a lock file keeps them."""
        own = {one.name: getattr(self, one.name) for one in fields(self) if one.name != "parts"}
        return {**own, "verdict": self.verdict.value, **self.parts.to_dict()}


def figures_of(card: DeviceEstimate, name_source: Callable[[str], SourceName]) -> CardFigures:
    """Returns the figures of a card's answer."""
    time, cost, interval = card.time, card.cost, card.device_total_interval_bytes
    per_sample = None if cost is None else cost.cost_per_sample
    epoch = None if cost is None or cost.epoch is None else cost.epoch.money
    price = None if cost is None else cost.price
    parts, summary = PeakParts(), card.peak_summary
    if card.breakdown is not None:
        parts = parts_of(card.breakdown, name_source)
    elif card.breakdown_summary is not None:
        parts = parts_of_summary(card.breakdown_summary)
    ends = None if time is None else time.interval_s
    return CardFigures(
        verdict=card.verdict,
        device_total_bytes=card.device_total_bytes,
        device_total_upper_bytes=None if interval is None else interval[1],
        peak_allocated_bytes=card.peak_allocated_bytes,
        peak_reserved_bytes=card.peak_reserved_bytes,
        peak_phase=None if summary is None else summary.peak_phase.value,
        usable_memory_bytes=card.usable_memory_bytes,
        reserve_bytes=card.reserve_bytes,
        largest_batch=card.max_batch_size,
        suggested_batch=card.suggested_batch_size,
        step_s=_rounded(None if time is None else time.step_s),
        step_upper_s=_rounded(None if ends is None else ends[1]),
        cost_per_million=_rounded(None if per_sample is None else 1e6 * per_sample[1]),
        cost_per_epoch=_rounded(None if epoch is None else epoch[1]),
        currency=None if price is None else price.currency,
        parts=parts,
    )


def figures_from(document: Mapping[str, Any]) -> CardFigures:
    """Returns the figures of an entry in a lock file.

    Raises:
        KeyError, ValueError, TypeError, AttributeError: it is not such an entry.
    """
    own = {
        one.name: document[one.name]
        for one in fields(CardFigures)
        if one.name not in ("parts", "verdict")
    }
    sums = [document[name] for name in _OF_THE_PARTS]
    categories, modules, operators, sources = (
        None if one is None else tuple(sorted((str(name), int(size)) for name, size in one.items()))
        for one in sums
    )
    for name in ("device_total_bytes", "peak_allocated_bytes", "peak_reserved_bytes"):
        own[name] = int(own[name])
    return CardFigures(
        verdict=FitVerdict(document["verdict"]),
        parts=PeakParts(
            categories=categories, modules=modules, operators=operators, sources=sources
        ),
        **own,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureChange:
    """A figure that differs: `name` is that of the field of CardFigures."""

    name: str
    before: float | str | None
    after: float | str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FiguresDifference:
    """What differs between two cards' figures."""

    figures: tuple[FigureChange, ...]
    """Figures that differ."""
    parts: tuple[Change, ...]
    """Parts of the peak that differ, by property, the largest growth first."""
    grown_bytes: int
    """Growth of device total; below 0: it shrank."""

    @property
    def is_none(self) -> bool:
        """Returns whether nothing differs."""
        return not self.figures and not self.parts


def compared(before: CardFigures, after: CardFigures) -> FiguresDifference:
    """Returns what differs."""
    found = [
        FigureChange(name=one.name, before=_plain(old), after=_plain(new))
        for one in fields(CardFigures)
        if one.name != "parts"
        and (old := getattr(before, one.name)) != (new := getattr(after, one.name))
    ]
    return FiguresDifference(
        figures=tuple(found),
        parts=changes(before.parts, after.parts),
        grown_bytes=after.device_total_bytes - before.device_total_bytes,
    )


def _plain(value: Any) -> float | str | None:
    plain: float | str | None = value.value if isinstance(value, FitVerdict) else value
    return plain


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.{_DIGITS}g}")
