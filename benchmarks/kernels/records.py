"""The records of tables of measured kernels.

In: nothing. Out: Kind, Figure, Figures of predictions. Convention: an error is predicted over
measured seconds, less 1.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from statistics import median, pstdev
from typing import Any, Generic, TypeVar

from benchmarks.record.statistics import quantile
from planner.hardware.database import load_gpus
from planner.hardware.specs import GpuSpec

Data = TypeVar("Data")
_PARTS = 5  # a fifth of the shapes is held out


class JudgedBy(str, Enum):
    """The kernels that a fit is judged on."""

    HELD_OUT = "held-out shapes"
    """Shapes that no constant was fitted on, of cards that others of their shapes were of."""
    LEFT_OUT = "card left out"
    """Shapes of a card, by constants fitted without any time of that card."""
    NETWORKS = "shapes of networks"
    """Held-out shapes that real networks have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """How one fit does on one card: a row of results.csv. Errors are without sign but `bias`."""

    kind: str
    """Name of the kind of table."""
    part: str
    """What of the kind, as the precision, or forward and backward."""
    card: str
    """Id in the database of cards; "all" for the kernels of all of them."""
    judged_by: JudgedBy
    """The kernels that it was judged on."""
    number: int
    """Kernels judged."""
    median: float
    """Median error, as a fraction."""
    p90: float
    """Error that nine tenths of the kernels stay below."""
    bias: float
    """Median error with its sign."""
    spread: float
    """Standard deviation of the logarithm of measured over predicted, without the outer 2 %."""
    before: float | None = None
    """Median error of the roofs and shares that were used before, if they were judged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind(Generic[Data]):
    """One kind of table: how it is read, fitted and judged."""

    name: str
    """A word, as in `--kind`."""
    title: str
    """On the page."""
    file: Path
    """The constants that planner ships, as JSON."""
    read: Callable[[], Data]
    """Reads the tables. Raises MissingTablesError if they are not installed."""
    fit: Callable[[Data], Mapping[str, Any]]
    """Fits the constants on what is not held out."""
    judge: Callable[[Data, Mapping[str, Any]], Iterable[Figure]]
    """Judges constants on what is held out, and new ones without each card on that card."""
    notes: str = ""
    """Markdown on the page: what was cleaned and how, what is known of the rest."""


class MissingTablesError(Exception):
    """Tables are not on this machine; the message says what to install."""


def is_held_out(*shape: object) -> bool:
    """Returns whether a shape judges: a fifth of all shapes, by a hash, the same on all cards."""
    name = ":".join(map(str, shape)).encode()
    return int.from_bytes(hashlib.sha256(name).digest()[:8], "big") % _PARTS == 0


def figure(
    pairs: Sequence[tuple[float, float]],
    *,
    kind: str,
    part: str,
    card: str,
    judged_by: JudgedBy,
    before: float | None = None,
) -> Figure | None:
    """Returns the figures of (predicted, measured) seconds; None without any."""
    if not pairs:
        return None
    errors = [predicted / measured - 1 for predicted, measured in pairs]
    sizes = [abs(error) for error in errors]
    return Figure(
        kind=kind,
        part=part,
        card=card,
        judged_by=judged_by,
        number=len(errors),
        median=median(sizes),
        p90=quantile(sizes, 0.9),
        bias=median(errors),
        spread=spread([math.log(measured / predicted) for predicted, measured in pairs]),
        before=before,
    )


def figures(
    kind: str,
    part: str,
    card: str,
    judged_by: JudgedBy,
    pairs: Sequence[tuple[float, float]],
    before: Sequence[float] = (),
) -> Iterator[Figure]:
    """Yields the figures of (predicted, measured) seconds, if there are any.

    `before` are the errors of the same kernels without sign, by what was used before.
    """
    found = figure(
        pairs,
        kind=kind,
        part=part,
        card=card,
        judged_by=judged_by,
        before=median(before) if before else None,
    )
    if found is not None:
        yield found


@cache
def card_named(name: str) -> GpuSpec:
    """Returns the card of an id in the database."""
    return load_gpus().find(name).spec


def spread(logarithms: Sequence[float]) -> float:
    """Returns the standard deviation without the outer 2 %."""
    ordered = sorted(logarithms)
    cut = len(ordered) // 100
    return pstdev(ordered[cut : len(ordered) - cut])
