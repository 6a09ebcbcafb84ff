"""A table that leaves columns out: which, in what order, and what is folded."""

from __future__ import annotations

import pytest
from rich.console import Console
from rich.text import Text

from planner.render.terminal.layout import FittedTable


def shown(width: int, *lines: tuple[str, ...]) -> list[str]:
    table = FittedTable(
        columns=("name", "one", "two"),
        lines=[tuple(map(Text, line)) for line in lines],
        left=(0,),
        left_out_first=(2, 1),
        folded=0,
    )
    console = Console(width=width, no_color=True, force_terminal=False, highlight=False)
    with console.capture() as captured:
        console.print(table)
    return [line.rstrip() for line in captured.get().splitlines()]


@pytest.mark.parametrize(
    ("width", "heading", "line"),
    [
        (16, "name    one  two", "abcdef    1    2"),
        (15, "name    one", "abcdef    1"),
        (11, "name    one", "abcdef    1"),
        (10, "name", "abcdef"),
    ],
)
def test_columns_go_in_their_order(width: int, heading: str, line: str) -> None:
    assert shown(width, ("abcdef", "1", "2")) == [heading, line]


def test_what_is_left_is_folded_and_not_cut() -> None:
    assert shown(4, ("abcdef", "1", "2")) == ["name", "abcd", "ef"]


def test_no_lines_are_a_heading() -> None:
    assert shown(80) == ["name  one  two"]
