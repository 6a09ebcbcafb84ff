"""Prints texts to stdout and stderr, without characters that a terminal would obey.

In: text. Out: the streams of this process. Convention: stdout is the report alone.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

import click

from planner.errors import OutputError
from planner.render.outside_text import shown_lines

_copies: list[str] | None = None


def print_text(text: str) -> None:
    """Prints to stdout; writes an escape for each character that its encoding lacks.

    Raises:
        OutputError: it could not be written. BrokenPipeError: nobody reads it any more.
    """
    if _copies is not None:
        _copies.append(text)
    try:
        click.echo(_with_letters_of(sys.stdout, text), nl=False)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        silence_stdout()
        raise OutputError(f"stdout could not be written: {error.strerror or error}") from error


@contextmanager
def copied() -> Iterator[list[str]]:
    """Yields a list that gets each text which is printed to stdout meanwhile."""
    global _copies
    before, _copies = _copies, []
    try:
        yield _copies
    finally:
        _copies = before


def say(text: str) -> None:
    """Prints lines on stderr; writes an escape for each character that a terminal would obey."""
    click.echo(_with_letters_of(sys.stderr, shown_lines(text)), err=True)


def silence_stdout() -> None:
    """Connects stdout to /dev/null, so that Python's flush at exit does not fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _with_letters_of(stream: TextIO, text: str) -> str:
    """Returns the text as the stream can encode it."""
    encoding = stream.encoding or "ascii"
    return text.encode(encoding, errors="backslashreplace").decode(encoding)
