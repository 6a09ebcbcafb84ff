"""Results on stdout: as JSON, or as a report in colour on a terminal and plain on a pipe.

In: what the library gave. Out: stdout. Convention: rich is imported for a report alone; no text of
a model, a record or a file reaches a terminal but through planner.render.outside_text, and none is
taken for markup.
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
from planner.results.estimate import SCHEMA_VERSION
from planner.results.result import Result

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

_PIPED_WIDTH = 100_000  # no sentence is folded on a pipe, where grep and diff want it whole


class Document(Protocol):
    """What has a JSON form."""

    def to_dict(self) -> Mapping[str, Any]:
        """The document, with the version of its schema."""
        ...


def print_result(found: Document, report: str, *, as_json: bool, verbose: bool) -> None:
    """The JSON of a result, or what `render` of planner.render.terminal.<report> makes of it."""
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
    """Writes the whole result, where that was requested.

    Called after the report: a disk that is full must not cost it.
    """
    if file is not None:
        found.save(file)


def print_json(document: dict[str, Any]) -> None:
    """A document that gains the version of its schema."""
    print_text(json.dumps({"schema_version": SCHEMA_VERSION, **document}, indent=2) + "\n")


def report_console(piped_width: int = _PIPED_WIDTH) -> Console:
    """As wide as the terminal, or wide enough for a pipe; what it prints is never markup."""
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
    """Prints what planner.render.terminal made; controls left in it are shown, not obeyed."""
    from rich.segment import Segment, Segments

    console = console or report_console()
    parts = [Segment(shown_lines(one.text), one.style) for one in console.render(report)]
    # not capture(): that writes to stdout too, where a full disk would be an error without a name
    console.file = page = io.StringIO()
    console.print(Segments(parts), end="")
    text = "".join(f"{line.rstrip()}\n" for line in page.getvalue().split("\n"))
    print_text(text.rstrip("\n") + "\n")
