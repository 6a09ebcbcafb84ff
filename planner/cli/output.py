"""Results on stdout: as JSON, or as a report in colour on a terminal and plain on a pipe.

In: what the library gave. Out: stdout; files that are whole. Convention: rich is imported for a
report alone.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import click

from planner.results import SCHEMA_VERSION

if TYPE_CHECKING:
    from rich.console import RenderableType

_PIPED_WIDTH = 100_000  # no sentence is folded on a pipe, where grep and diff want it whole


class Document(Protocol):
    """What has a JSON form."""

    def to_dict(self) -> dict[str, Any]:
        """The document, with the version of its schema."""
        ...


def print_result(found: Document, report: str, *, as_json: bool) -> None:
    """The JSON of a result, or what `render` of planner.report.<report> makes of it."""
    if as_json:
        click.echo(json.dumps(found.to_dict(), indent=2))
    else:
        print_renderable(import_module(f"planner.report.{report}").render(found))


def print_json(document: dict[str, Any]) -> None:
    """A document that gains the version of its schema."""
    click.echo(json.dumps({"schema_version": SCHEMA_VERSION, **document}, indent=2))


def print_renderable(report: RenderableType) -> None:
    """Prints what planner.report made."""
    from rich.console import Console

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


def write_whole(file: Path, text: str, *, is_private: bool = False) -> None:
    """All of it or nothing: what was there before stays until the new file is complete.

    What is no file of its own, like /dev/stdout, is written to.
    """
    if file.is_symlink() or (file.exists() and not file.is_file()):
        file.write_text(text, encoding="utf-8")
        return
    handle, name = tempfile.mkstemp(prefix=f".{file.name}-", dir=file.parent)
    try:
        with open(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        if not is_private:  # mkstemp's files are
            os.chmod(name, 0o666 & ~_umask())
        os.replace(name, file)
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
