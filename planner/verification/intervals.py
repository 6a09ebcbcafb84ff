"""Measures the errors of predictions for a card: by its own history, else by published figures.

In: HistoryEntries comparable with this run. Out: ErrorInterval, or why there is none. Convention:
own figures count from LEAST_OWN models on, separately for peak reserved and context overhead; each
is compared with the prediction from the others, so that no figure judges itself.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from planner.config.step import Mode
from planner.memory.interval import ErrorInterval, NoInterval, Ratios, median, spread
from planner.verification.calibration import (
    context_bytes,
    last_of_each_step,
    models,
    reserved_offset,
    reserved_pairs,
)

if TYPE_CHECKING:
    from planner.verification.history import HistoryEntry

LEAST_OWN = 5
_PUBLISHED = Path(__file__).with_name("published_errors.json")


def card_spread(runs: Sequence[HistoryEntry], mode: Mode) -> ErrorInterval | NoInterval:
    """Returns the spread for a step of that mode on the card of `runs`."""
    reserved = _own_reserved([one for one in runs if one.mode == mode.value])
    if reserved is None:
        reserved = published_reserved(mode)
    if reserved is None:
        return NoInterval(
            reason=f"no interval of device total: no measured peaks of {mode.value} steps are "
            f"known, neither published nor of {LEAST_OWN} models verified on this card"
        )
    return spread(reserved, _own_context(runs) or published_context())


def _own_reserved(runs: Sequence[HistoryEntry]) -> Ratios | None:
    """Returns measured over predicted peak reserved, each corrected by the other runs."""
    known = last_of_each_step([one for one in runs if reserved_pairs(one)])
    if models(known) < LEAST_OWN:
        return None
    values = []
    for index, one in enumerate(known):
        offset = reserved_offset([*known[:index], *known[index + 1 :]]) or 0
        ((predicted, measured),) = reserved_pairs(one)
        values.append(measured / max(1, predicted + offset))
    return Ratios(values=tuple(values), source=f"{_verified(known)} (peak reserved)")


def _own_context(runs: Sequence[HistoryEntry]) -> Ratios | None:
    """Returns measured context overheads over the median of the others."""
    last = last_of_each_step([one for one in runs if context_bytes(one)])
    known = [bytes_ for one in last if (bytes_ := context_bytes(one)) is not None]
    if models(last) < LEAST_OWN:
        return None
    values = (
        measured / median([*known[:index], *known[index + 1 :]])
        for index, measured in enumerate(known)
    )
    return Ratios(values=tuple(values), source=f"{_verified(last)} (context overhead)")


def _verified(runs: Sequence[HistoryEntry]) -> str:
    count = models(runs)
    steps = "" if len(runs) == count else f" in {len(runs)} different steps"
    return f"{count} models verified on this card{steps}"


def published_reserved(mode: Mode) -> Ratios | None:
    """Returns measured over predicted peak reserved of published runs; None: none of this mode."""
    found = _published()["peak_reserved"]
    if mode.value != found["mode"]:
        return None
    return Ratios(
        values=tuple(one["measured_bytes"] / one["predicted_bytes"] for one in found["figures"]),
        source=f"{found['said']} (peak reserved)",
    )


def published_context() -> Ratios:
    """Returns observed over modelled of the published context overheads."""
    found = _published()["context_overhead"]
    return Ratios(
        values=tuple(
            one["observed_mib"] / _modelled_mib(found["model"], one) for one in found["figures"]
        ),
        source=f"{found['said']} (context overhead)",
    )


def _modelled_mib(model: dict[str, float], card: dict[str, Any]) -> float:
    """Computes the model of hardware_db: a constant, plus a rate for each thread of the card."""
    threads = card["streaming_multiprocessors"] * card["threads_per_sm"]
    mib: float = model["fixed_mib"] + model["mib_per_1000_threads"] * threads / 1000
    return mib


def _published() -> dict[str, Any]:
    """Reads the figures that come with planner, each with its source."""
    document: dict[str, Any] = json.loads(_PUBLISHED.read_text(encoding="utf-8"))
    return document
