"""The parts of a peak in a compact form that can be kept and compared: sums by four properties.

In: a Breakdown or a BreakdownSummary. Out: PeakParts, Change. Convention: each sum is in bytes and,
but for the categories' rounding, adds up to the peak allocated; names are sorted. Where there are
too many names, numbers in module paths become "*" and then the smallest are summed up as OTHERS.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher
from enum import Enum

from planner.memory.peak import Breakdown
from planner.preflight.source_names import SourceName
from planner.results.breakdown_summary import BreakdownSummary

OTHERS = "(others)"
MOST_NAMES = 128
_ANY = "*"
_ALIKE = 0.6  # of two lines: one is the other, edited (difflib calls such texts close)
Sums = tuple[tuple[str, int], ...]


class PartKind(str, Enum):
    """The property by which a peak is summed."""

    CATEGORY = "category"
    """The purpose of the memory."""
    MODULE = "module"
    """The module that requested it."""
    OPERATOR = "operator"
    """The operator that requested it."""
    SOURCE = "source line"
    """The line of code that requested it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeakParts:
    """Bytes at the peak by name; None where the result does not hold them.

    `places` are the lines of the sources as FILE:LINE, `inside` those sources that are in the
    project; both are of this run and never kept in a lock file.
    """

    categories: Sums | None = None
    modules: Sums | None = None
    operators: Sums | None = None
    sources: Sums | None = None
    places: tuple[tuple[str, str], ...] = ()
    inside: tuple[str, ...] = ()

    def of(self, kind: PartKind) -> Sums | None:
        """Returns the sums by one property."""
        return {
            PartKind.CATEGORY: self.categories,
            PartKind.MODULE: self.modules,
            PartKind.OPERATOR: self.operators,
            PartKind.SOURCE: self.sources,
        }[kind]

    def to_dict(self) -> dict[str, dict[str, int] | None]:
        """Returns the parts as they are kept in a lock file."""
        return {
            f"{_KEYS[kind]}_bytes": None if (sums := self.of(kind)) is None else dict(sums)
            for kind in PartKind
        }


_KEYS = {
    PartKind.CATEGORY: "category",
    PartKind.MODULE: "module",
    PartKind.OPERATOR: "operator",
    PartKind.SOURCE: "source",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Bytes at the peak of one name, before and after; `place` is its FILE:LINE now, if known."""

    kind: PartKind
    name: str
    before_bytes: int
    after_bytes: int
    place: str | None = None

    @property
    def grown_bytes(self) -> int:
        """Returns by how much it grew; below 0: it shrank."""
        return self.after_bytes - self.before_bytes

    def to_dict(self) -> dict[str, str | int | None]:
        """Returns the entry of a JSON list of changes."""
        return {
            "part": self.kind.value,
            "name": self.name,
            "before_bytes": self.before_bytes,
            "after_bytes": self.after_bytes,
            "grown_bytes": self.grown_bytes,
            "place": self.place,
        }


def parts_of(found: Breakdown, name_source: Callable[[str], SourceName]) -> PeakParts:
    """Returns the parts of a whole breakdown; `name_source` names FILE:LINE."""
    sources: dict[str, int] = defaultdict(int)
    places: dict[str, str] = {}
    inside: set[str] = set()
    for block in found.held:
        line = block.origin.source
        named = name_source(line) if line else SourceName(name="", place="", is_inside=False)
        sources[named.name] += block.block_bytes
        if line:
            places[named.name] = min(places.get(named.name, named.place), named.place)
            inside |= {named.name} if named.is_inside else set()
    sources[""] += found.uncounted_bytes
    if not sources[""]:
        del sources[""]
    return PeakParts(
        categories=_sums(found.by_category()),
        modules=compact(found.by_module(), collapse=collapsed),
        operators=compact(found.by_operator()),
        sources=compact(sources),
        places=tuple(sorted(places.items())),
        inside=tuple(sorted(inside)),
    )


def parts_of_summary(found: BreakdownSummary) -> PeakParts:
    """Returns the parts that a JSON document has: categories, and modules two names deep."""
    return PeakParts(categories=_sums(dict(found.categories)), modules=compact(dict(found.modules)))


def compact(sums: Mapping[str, int], collapse: Callable[[str], str] | None = None) -> Sums:
    """Returns at most MOST_NAMES sums; `collapse` is tried on the names before any is left out."""
    if len(sums) > MOST_NAMES and collapse is not None:
        sums = _renamed(sums, collapse)
    if len(sums) > MOST_NAMES:
        falling = sorted(sums.items(), key=lambda item: (-item[1], item[0]))
        kept = dict(falling[: MOST_NAMES - 1])
        kept[OTHERS] = sum(size for _, size in falling[MOST_NAMES - 1 :])
        sums = kept
    return _sums(sums)


def collapsed(module: str) -> str:
    """Returns a module path with its numbers as "*": layers.3.mlp becomes layers.*.mlp."""
    return ".".join(_ANY if part.isdecimal() else part for part in module.split("."))


def changes(before: PeakParts, after: PeakParts) -> tuple[Change, ...]:
    """Returns each name whose bytes differ, by property, the largest growth first.

    A property that one of the two does not hold is left out.
    """
    found: list[Change] = []
    places = dict(after.places)
    for kind in PartKind:
        old, new = before.of(kind), after.of(kind)
        if old is None or new is None:
            continue
        first, second = _alike(kind, dict(old), dict(new))
        of_kind = [
            Change(
                kind=kind,
                name=name,
                before_bytes=first.get(name, 0),
                after_bytes=second.get(name, 0),
                place=places.get(name) if kind is PartKind.SOURCE else None,
            )
            for name in sorted({*first, *second})
            if first.get(name, 0) != second.get(name, 0)
        ]
        found += sorted(of_kind, key=lambda change: (-change.grown_bytes, change.name))
    return tuple(found)


def _alike(
    kind: PartKind, old: dict[str, int], new: dict[str, int]
) -> tuple[Mapping[str, int], Mapping[str, int]]:
    """Returns both with names that can be compared: else each would seem to be gone and new."""
    if kind is PartKind.SOURCE:
        return _edited(old, new), new
    if kind is not PartKind.MODULE:
        return old, new
    if any(_ANY in name.split(".") for name in (*old, *new)):
        return _renamed(old, collapsed), _renamed(new, collapsed)
    return old, new


def _edited(old: Mapping[str, int], new: Mapping[str, int]) -> Mapping[str, int]:
    """Returns `old` where a line that was edited has its new text, so that it is one line."""
    gone = [name for name in old if name and name not in new]
    names: dict[str, str] = {}
    for name in sorted(name for name in new if name and name not in old):
        alike = {other: _likeness(other, name) for other in gone if other not in names}
        best = max(alike, key=lambda other: (alike[other], other), default=None)
        if best is not None and alike[best] >= _ALIKE:
            names[best] = name
    return _renamed(old, lambda name: names.get(name, name))


def _likeness(one: str, other: str) -> float:
    """Returns how alike two lines of the same file are, from 0 to 1; 0 for two files."""
    file, separator, text = one.partition(": ")
    other_file, _, other_text = other.partition(": ")
    if not separator or file != other_file:
        return 0.0
    return SequenceMatcher(None, text, other_text, autojunk=False).ratio()


def _renamed(sums: Mapping[str, int], rename: Callable[[str], str]) -> dict[str, int]:
    found: dict[str, int] = defaultdict(int)
    for name, size in sums.items():
        found[rename(name)] += size
    return dict(found)


def _sums(sums: Mapping[str, int]) -> Sums:
    return tuple(sorted(sums.items()))
