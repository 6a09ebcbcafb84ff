"""The largest tensors at the peak, as a short table.

In: Breakdown. Out: a renderable. Convention: tensors of the same kind and place share a row.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from planner.memory.peak import Breakdown, Held
from planner.units import format_bytes

_ROWS = 5


def largest_tensors(card: str, breakdown: Breakdown) -> RenderableType:
    """Returns the rows that hold most of the peak on `card`."""
    alike = Counter(_place(block) for block in breakdown.held)
    sizes: dict[tuple[str, str, str], int] = {}
    for block in breakdown.held:
        sizes[_place(block)] = sizes.get(_place(block), 0) + block.block_bytes
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, justify="right")
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    largest = sorted(sizes, key=lambda place: -sizes[place])[:_ROWS]
    for place in largest:
        category, what, source = place
        number = f"{alike[place]} x " if alike[place] > 1 else ""
        where = " ".join(part for part in (what, source) if part)
        table.add_row(format_bytes(sizes[place]), f"{number}{category}", Text(where))
    return Group(Text(f"most memory at the peak on {card}", style="bold"), table)


def _place(block: Held) -> tuple[str, str, str]:
    """Returns category, name or operator, and the user's line that allocated the block."""
    origin = block.origin
    name = ".".join(part for part in (origin.module, origin.tensor) if part)
    operator = origin.operator if not origin.tensor else ""
    if origin.source:
        # One line of a loop makes many tensors: they share a row, under their operator.
        return block.category.value, operator or name, _short(origin.source)
    return block.category.value, name or operator, ""


def _short(source: str) -> str:
    path, _, line = source.rpartition(":")
    try:
        return f"{Path(path).relative_to(Path.cwd())}:{line}"
    except ValueError:
        return source
