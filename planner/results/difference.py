"""The result of `planner diff`: two estimates, card by card, and what differs between them.

In: two Estimates with their labels. Out: Difference and its JSON form (schema_version 1: keys are
added, never changed or removed). Convention: "before" is the first of the two.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from planner.preflight.source_names import SourceName
from planner.results.card_figures import CardFigures, FiguresDifference, compared, figures_of
from planner.results.device_estimate import DeviceEstimate
from planner.results.estimate import Estimate
from planner.results.peak_parts import parts_of_summary

SCHEMA_VERSION = 1
NameSource = Callable[[str], SourceName]
_SUMS_ALONE = (
    "operators and lines of the code are not compared: a document of --json does not have them, "
    "a file of --save has"
)
_NO_PARTS = "{gpu}: the parts of the peak are not compared: one of the two does not have them"


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of the two estimates; `label` says where it is from, `name_source` names its lines."""

    label: str
    found: Estimate
    name_source: NameSource


@dataclass(frozen=True, slots=True, kw_only=True)
class CardDifference:
    """One card; `gpu` names both where they are not the same."""

    gpu: str
    before: CardFigures
    after: CardFigures
    difference: FiguresDifference

    def to_dict(self) -> dict[str, Any]:
        """Returns the entry of the JSON list `cards`."""
        return {
            "gpu": self.gpu,
            "grown_bytes": self.difference.grown_bytes,
            "before": self.before.to_dict(),
            "after": self.after.to_dict(),
            "changed_figures": [
                {"figure": one.name, "before": one.before, "after": one.after}
                for one in self.difference.figures
            ],
            "changed_parts": [change.to_dict() for change in self.difference.parts],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Two estimates compared. `changed_settings` are settings of the step and versions of the
    software that differ: name, before, after. `left_out` names cards that only one of both has.
    """

    before: str
    after: str
    target_before: str
    target_after: str
    cards: tuple[CardDifference, ...]
    changed_settings: tuple[tuple[str, str, str], ...]
    left_out: tuple[str, ...]
    remarks: tuple[str, ...]
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Returns the JSON document of `planner diff --json`."""
        return {
            "schema_version": SCHEMA_VERSION,
            "before": {"from": self.before, "target": self.target_before},
            "after": {"from": self.after, "target": self.target_after},
            "changed_settings": [
                {"name": name, "before": before, "after": after}
                for name, before, after in self.changed_settings
            ],
            "cards": [card.to_dict() for card in self.cards],
            "left_out": list(self.left_out),
            "remarks": list(self.remarks),
            "warnings": list(self.warnings),
        }


def difference(before: Side, after: Side) -> Difference:
    """Returns what differs between two estimates, on the cards that both have."""
    pairs, left_out = _paired(before.found, after.found)
    cards, remarks = [], []
    for old, new in pairs:
        first, second, remark = _figures(old, new, before, after)
        gpu = (
            old.requested if old.requested == new.requested else f"{old.requested}, {new.requested}"
        )
        remarks += [] if remark is None else [remark.format(gpu=gpu)]
        cards.append(
            CardDifference(gpu=gpu, before=first, after=second, difference=compared(first, second))
        )
    return Difference(
        before=before.label,
        after=after.label,
        target_before=before.found.target,
        target_after=after.found.target,
        cards=tuple(cards),
        changed_settings=_changed(before.found, after.found),
        left_out=left_out,
        remarks=tuple(dict.fromkeys(remarks)),
        warnings=tuple(
            f"{side.label}: {text}" for side in (before, after) for text in side.found.warnings
        ),
    )


def _paired(
    before: Estimate, after: Estimate
) -> tuple[list[tuple[DeviceEstimate, DeviceEstimate]], tuple[str, ...]]:
    """Returns the cards of both by name; a single card on each side is compared in any case."""
    if len(before.gpus) == len(after.gpus) == 1:
        return [(before.gpus[0], after.gpus[0])], ()
    old = {card.requested: card for card in before.gpus}
    new = {card.requested: card for card in after.gpus}
    pairs = [(card, new[name]) for name, card in old.items() if name in new]
    alone = [name for name in (*old, *new) if not (name in old and name in new)]
    return pairs, tuple(alone)


def _figures(
    old: DeviceEstimate, new: DeviceEstimate, before: Side, after: Side
) -> tuple[CardFigures, CardFigures, str | None]:
    """Returns the figures of both, with the parts that both have, and a remark if some miss."""
    first, second = figures_of(old, before.name_source), figures_of(new, after.name_source)
    if old.breakdown is not None and new.breakdown is not None:
        return first, second, None
    sums, other = old.peak_summary, new.peak_summary
    if sums is None or other is None:
        return first, second, _NO_PARTS
    first = replace(first, parts=parts_of_summary(sums))
    return first, replace(second, parts=parts_of_summary(other)), _SUMS_ALONE


def _changed(before: Estimate, after: Estimate) -> tuple[tuple[str, str, str], ...]:
    old, new = before.to_dict(), after.to_dict()
    found = []
    for part in ("config", "versions", "model_arguments"):
        one: Mapping[str, Any] = dict(old[part])
        other: Mapping[str, Any] = dict(new[part])
        found += [
            (name, _shown(one.get(name)), _shown(other.get(name)))
            for name in dict.fromkeys((*one, *other))
            if one.get(name) != other.get(name)
        ]
    return tuple(found)


def _shown(value: object) -> str:
    if value is None:
        return "none"
    return value if isinstance(value, str) else json.dumps(value)
