"""Reports on stdout: in colour and as wide as the terminal, or as plain text on a pipe."""

from __future__ import annotations

import sys

import click
from rich.console import Console, RenderableType

from planner.report.terminal import render
from planner.results import Estimate

_PIPED_WIDTH = 100_000  # no sentence is folded on a pipe, where grep and diff want it whole


def print_report(estimate: Estimate) -> None:
    """Prints the report of one estimate."""
    print_renderable(render(estimate))


def print_renderable(report: RenderableType) -> None:
    """Prints what planner.report made."""
    is_terminal = sys.stdout.isatty()
    console = Console(
        width=None if is_terminal else _PIPED_WIDTH,
        no_color=None if is_terminal else True,
        force_terminal=None if is_terminal else False,
        highlight=False,
    )
    with console.capture() as captured:
        console.print(report)
    text = "".join(f"{line.rstrip()}\n" for line in captured.get().splitlines())
    encoding = sys.stdout.encoding or "ascii"
    click.echo(text.encode(encoding, errors="backslashreplace").decode(encoding), nl=False)
