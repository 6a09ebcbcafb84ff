"""Says in sentences what differs between two estimates: figures, modules, operators, lines.

In: FiguresDifference. Out: lines of text. Convention: an unknown figure is "not known"; growth has
a plus sign; names that the code gave are not escaped here.
"""

from __future__ import annotations

from collections.abc import Sequence

from planner.results.card_figures import FigureChange, FiguresDifference
from planner.results.peak_parts import Change, PartKind
from planner.units import format_bytes, format_duration, format_percent, format_significant

_FIRST = (PartKind.MODULE, PartKind.OPERATOR, PartKind.SOURCE, PartKind.CATEGORY)
_MOST_OF_A_KIND = 3
_NAMES = {
    "verdict": "verdict",
    "device_total_bytes": "peak on the card",
    "device_total_upper_bytes": "its upper end",
    "peak_allocated_bytes": "peak allocated",
    "peak_reserved_bytes": "peak reserved",
    "peak_phase": "the peak is in",
    "usable_memory_bytes": "usable memory",
    "reserve_bytes": "memory kept free",
    "largest_batch": "largest batch",
    "suggested_batch": "suggested batch",
    "step_s": "step time",
    "step_upper_s": "upper end of the step time",
    "cost_per_million": "cost of 1M samples",
    "cost_per_epoch": "cost of an epoch",
    "currency": "currency",
}
_PLURALS = {
    PartKind.MODULE: "modules",
    PartKind.OPERATOR: "operators",
    PartKind.SOURCE: "source lines",
    PartKind.CATEGORY: "categories",
}
_UNNAMED = {
    PartKind.MODULE: "outside of any submodule",
    PartKind.OPERATOR: "without an operator, like the model and the batch",
    PartKind.SOURCE: "without a line of the code",
    PartKind.CATEGORY: "without a category",
}


def signed_bytes(size_bytes: int) -> str:
    """Returns a size with its sign: +1.20 GiB, -3.00 MiB, +0 B."""
    return f"{'-' if size_bytes < 0 else '+'}{format_bytes(abs(size_bytes))}"


def growth(grown_bytes: int, before_bytes: int) -> str:
    """Returns the growth with its share: +12.0 MiB (5.0 %); "unchanged" where there is none."""
    if not grown_bytes:
        return "unchanged"
    percent = format_percent(abs(grown_bytes), before_bytes) if before_bytes else "from nothing"
    return f"{signed_bytes(grown_bytes)} ({percent})"


def figure_lines(found: FiguresDifference) -> list[str]:
    """Returns a line for each figure that differs."""
    return [
        f"{_NAMES[one.name]}: {figure_text(one.name, one.before)} -> "
        f"{figure_text(one.name, one.after)}{_growth_of(one)}"
        for one in found.figures
    ]


def part_lines(changes: Sequence[Change], most: int = _MOST_OF_A_KIND) -> list[str]:
    """Returns the parts that changed most: modules, operators, lines, categories."""
    lines = []
    for kind in _FIRST:
        of_kind = [change for change in changes if change.kind is kind]
        largest = sorted(of_kind, key=lambda one: -abs(one.grown_bytes))
        lines += [part_line(change) for change in largest[:most]]
        left = largest[most:]
        if left:
            rest = sum(change.grown_bytes for change in left)
            words = kind.value if len(left) == 1 else _PLURALS[kind]
            lines.append(f"{len(left)} more {words}: {signed_bytes(rest)}")
    return lines


def part_line(change: Change) -> str:
    """Returns one part: `module layers.*.mlp: +1.00 GiB (2.00 GiB -> 3.00 GiB)`."""
    sizes = f"{format_bytes(change.before_bytes)} -> {format_bytes(change.after_bytes)}"
    return f"{part_name(change)}: {signed_bytes(change.grown_bytes)} ({sizes})"


def part_name(change: Change) -> str:
    """Returns kind and name of a part; a line of code with its number where that is known."""
    if not change.name:
        return _UNNAMED[change.kind]
    if change.place in (None, change.name):  # also without the text of the line
        return f"{change.kind.value} {change.name}"
    file = str(change.place).rpartition(":")[0]
    return f"{change.kind.value} {change.place}{change.name.removeprefix(file)}"


def figure_text(name: str, value: float | str | None) -> str:
    """Returns a figure of CardFigures with its unit."""
    if value is None:
        return "not known"
    if isinstance(value, str):
        return value
    if name.endswith("_bytes"):
        return format_bytes(int(value))
    if name.endswith("_s"):
        return format_duration(value)
    return format_significant(value) if isinstance(value, float) else str(value)


def _growth_of(change: FigureChange) -> str:
    before, after = change.before, change.after
    if isinstance(before, str) or isinstance(after, str) or not before or after is None:
        return ""
    sign = "-" if after < before else "+"
    return f" ({sign}{format_percent(abs(after - before), before)})"
