"""Prints results: as JSON, or as a report, in colour on a terminal and plain on a pipe.

In: results of the library. Out: stdout. Convention: rich is imported only for a report; text of a
model, a record or a file reaches a terminal only through planner.render.outside_text, and never as
markup.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from planner.cli.step_command import defaults_line, used_defaults
from planner.cli.terminal import print_text
from planner.render.outside_text import shown, shown_lines, shown_record

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from planner.results.result import Result

_PIPED_WIDTH = 100_000  # no sentence is folded on a pipe, where grep and diff want it whole


class Document(Protocol):
    """A record with a JSON form."""

    def to_dict(self) -> Mapping[str, Any]:
        """Returns the JSON document."""
        ...


def print_result(found: Document, report: str, *, as_json: bool, verbose: bool) -> None:
    """Prints a result as JSON, or with `render` of planner.render.terminal.<report>."""
    defaults = used_defaults()
    if as_json:
        document = dict(found.to_dict())
        if defaults is not None:  # a key of its own, only where a file was used
            document["defaults_file"] = {
                "file": str(defaults.config.path),
                "options": dict(defaults.texts),
            }
        print_text(json.dumps(document, indent=2) + "\n")
        return
    render = import_module(f"planner.render.terminal.{report}").render
    print_renderable(render(shown_record(found), verbose=verbose))
    if defaults is not None:
        print_text(f"\n{shown(defaults_line(defaults) or '')}\n")


def save(found: Result, file: Path | None) -> None:
    """Writes the whole result, if a file is given.

    Called after the report, so that a full disk cannot prevent the report.
    """
    if file is not None:
        found.save(file)


def plot(found: object, file: Path | None) -> None:
    """Draws the result into a file, if one is given; called after the report, as `save` is."""
    if file is not None:
        from planner.results.plots.of_results import write_plot

        write_plot(found, file)


def print_json(document: dict[str, Any]) -> None:
    """Prints a document, with the version of its schema added."""
    from planner.results.estimate import SCHEMA_VERSION  # loads slowly

    print_text(json.dumps({"schema_version": SCHEMA_VERSION, **document}, indent=2) + "\n")


def report_console(piped_width: int = _PIPED_WIDTH) -> Console:
    """Returns a console as wide as the terminal, or wide enough for a pipe; it reads no markup."""
    from rich.console import Console

    is_terminal = sys.stdout.isatty()
    return Console(
        width=None if is_terminal else piped_width,
        no_color=None if is_terminal else True,
        force_terminal=None if is_terminal else False,
        highlight=False,
        markup=False,
        emoji=False,
    )


def print_renderable(report: RenderableType, console: Console | None = None) -> None:
    """Prints a report of planner.render.terminal; control characters in it become escapes."""
    from rich.segment import Segment, Segments

    console = console or report_console()
    parts = [Segment(shown_lines(one.text), one.style) for one in console.render(report)]
    # not capture(): it writes to stdout too, and the error of a full disk would not name stdout
    console.file = page = io.StringIO()
    console.print(Segments(parts), end="")
    text = "".join(f"{line.rstrip()}\n" for line in page.getvalue().split("\n"))
    print_text(text.rstrip("\n") + "\n")
