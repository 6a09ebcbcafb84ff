"""A table that leaves columns out: which, in what order, and what is folded."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from rich.console import Console, Group
from rich.text import Text

from planner.render.terminal.layout import FittedTable, closing


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


@dataclass(frozen=True)
class Result:
    """Sentences of a report."""

    warnings: tuple[str, ...] = ()
    assumptions: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def end(result: Result, *, verbose: bool, left_out: tuple[str, ...] = ()) -> str:
    console = Console(width=80, no_color=True, force_terminal=False, highlight=False)
    with console.capture() as captured:
        console.print(Group(*closing((), result, verbose=verbose, left_out=left_out)))
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def test_what_was_assumed_is_apart_from_what_is_good_to_know() -> None:
    result = Result(warnings=("hot",), assumptions=("a", "b", "c"), notes=("b",))
    assert end(result, verbose=True) == (
        "\nwarnings\n- hot\n\nassumed\n- a\n- c\n\ngood to know\n- b"
    )
    assert end(result, verbose=False, left_out=("2 rows",)) == (
        "\nwarnings\n- hot\n\nassumed\n- a\n- c\n\n--verbose adds: 2 rows, 1 note on the figures"
    )


def test_nothing_is_said_of_verbose_where_it_adds_nothing() -> None:
    assert end(Result(assumptions=("a",)), verbose=False) == "\nassumed\n- a"
