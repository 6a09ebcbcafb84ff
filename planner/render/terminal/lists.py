"""A titled list of sentences, as both reports end.

In: a title and lines. Out: a renderable. Convention: plain ASCII; long lines are folded.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text


def titled_lists(sections: Sequence[tuple[str, Sequence[str]]]) -> list[RenderableType]:
    """Each section that has lines, set off by an empty line."""
    parts: list[RenderableType] = []
    for title, lines in sections:
        if lines:
            parts += [Text(), _list(title, lines)]
    return parts


def _list(title: str, lines: Sequence[str]) -> RenderableType:
    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for line in lines:
        table.add_row("-", Text(line))
    return Group(Text(title, style="bold"), table)
