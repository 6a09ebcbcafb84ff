"""The report of a Curve: golden files, marks, bars, and what a narrow terminal leaves out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from rich.console import Console

from planner.render.terminal.curve import render
from planner.results.curve import Curve, CurvePoint

Golden = Callable[[str, str], None]
Point = Callable[..., CurvePoint]


def shown(curve: Curve, width: int) -> str:
    console = Console(width=width, force_terminal=False, no_color=True, highlight=False)
    with console.capture() as captured:
        console.print(render(curve))
    return "".join(f"{line.rstrip()}\n" for line in captured.get().splitlines())


def chart(curve: Curve, width: int) -> list[str]:
    """The lines of the bars alone."""
    lines = shown(curve, width).splitlines()
    return [line for line in lines if line.count("|") == 2]


@pytest.mark.parametrize("width", [80, 100_000], ids=["terminal", "pipe"])
def test_report_is_as_written(
    curve: Curve, golden: Golden, width: int, request: pytest.FixtureRequest
) -> None:
    golden(f"report-curve-{request.node.callspec.id}.txt", shown(curve, width))


def test_bars_are_as_long_as_their_figures(curve: Curve, point: Point) -> None:
    points = (point(1, 100.0, 4), point(2, 200.0, 8), point(4, 400.0, 16), point(8, 400.0, 64))
    bars = chart(replace(curve, points=points), 100_000)
    lengths = [line.partition("|")[0].count("#") for line in bars]
    assert lengths == [8, 16, 32, 0]  # of 32 that the best takes
    memory = [line.split("|")[1] for line in bars]
    assert [part.count("#") for part in memory] == [8, 16, 32, 0]  # of 16 GiB
    assert memory[3] == "." * 31 + ">"
    assert bars[3].partition("|")[0].count(".") == 32


def test_the_smallest_figure_still_has_a_bar(curve: Curve, point: Point) -> None:
    bars = chart(replace(curve, points=(point(1, 1.0, 0.001), point(2, 10_000.0))), 80)
    assert bars[0].partition("|")[0].count("#") == 1
    assert bars[0].split("|")[1].strip() == "#"


def test_memory_that_is_not_known_has_no_bar(curve: Curve, point: Point) -> None:
    (bar,) = chart(replace(curve, points=(point(1, 1.0, None),)), 80)
    assert bar.split("|")[1].strip() == ""
    assert bar.endswith("| -")


def test_knee_largest_and_recommended_are_marked(curve: Curve) -> None:
    lines = shown(replace(curve, recommended_batch_size=64), 120).splitlines()
    assert sum(line.endswith("  knee, recommended") for line in lines) == 1
    (knee,) = [line for line in lines if line.endswith("  knee, recommended")]
    assert knee.split()[0] == "64"
    (largest,) = [line for line in lines if line.endswith("  largest")]
    assert largest.split()[0] == "128"
    (small,) = [line for line in lines if line.endswith("  does not fit")]
    assert small.split()[0] == "256"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"largest_batch_size": None}, "t4:          the largest batch was not searched\n"),
        ({"largest_batch_is_bound": True}, "t4:          largest batch 128 or more\n"),
        ({"largest_batch_size": 0, "knee": None}, "t4:          no batch fits, not even 1\n"),
    ],
)
def test_what_is_not_known_is_said(curve: Curve, changes: dict[str, int], said: str) -> None:
    assert said in shown(replace(curve, **changes), 120)


def test_without_points_there_is_no_chart(curve: Curve) -> None:
    text = shown(replace(curve, points=(), global_batch_size=None, warnings=()), 80)
    assert "samples/s" not in text
    assert "\nrecommended: none of these batches fits on the card" in text


def test_where_all_fits_nothing_is_said_of_what_does_not(curve: Curve) -> None:
    assert "beyond the card" in shown(curve, 80)
    assert "beyond the card" not in shown(replace(curve, points=curve.points[:4]), 80)


@pytest.mark.parametrize("width", [40, 60, 80, 120, 100_000])
def test_lines_are_within_the_width_plain_and_whole(curve: Curve, width: int) -> None:
    text = shown(curve, width)
    assert text.isascii()
    assert max(map(len, text.splitlines())) <= min(width, 300)
    words = " ".join(text.split())
    for sentence in (*curve.assumptions, *curve.warnings):
        assert sentence in words
    assert [line.split()[0] for line in chart(curve, width)] == ["1", "8", "64", "128", "256"]


def test_text_of_the_user_is_not_markup(curve: Curve) -> None:
    assert "\n\n[red]net.py[/red]\n" in shown(replace(curve, target="[red]net.py[/red]"), 80)
