"""`planner cache`: the answers kept on this machine: how much, where, and their removal."""

from __future__ import annotations

import click

from planner.cli import options as shared
from planner.cli.output import print_json
from planner.cli.terminal import print_text, say
from planner.process.kept import store
from planner.render.outside_text import shown
from planner.units import counted, format_bytes

_EXIT_CODES = """\b
Exit codes:
  0  done
  1  error: the folder cannot be used
  2  wrong usage: an option, a size in the environment
"""


@click.group(epilog=_EXIT_CODES)
def cache() -> None:
    """Show or remove the answers that are kept from run to run."""


@cache.command()
@shared.as_json
def info(as_json: bool) -> None:
    """Show the folder, its size, and the most that it may take."""
    found = store.contents()
    if as_json:
        print_json(
            {
                "folder": str(found.folder),
                "files": found.files,
                "size_bytes": found.size_bytes,
                "limit_bytes": found.limit_bytes,
            }
        )
        return
    print_text(
        f"{shown(str(found.folder))}\n"
        f"{counted(found.files, 'file')}, {format_bytes(found.size_bytes)} "
        f"of at most {format_bytes(found.limit_bytes)} ({store.SIZE_VARIABLE})\n"
    )


@cache.command()
def clear() -> None:
    """Remove all kept answers; the emulated device stays."""
    found = store.clear()
    say(f"removed {counted(found.files, 'file')}, {format_bytes(found.size_bytes)}")
