"""Progress on stderr: a line in place on a terminal, a short line per stage elsewhere.

In: texts like "t4: searching the largest batch: trying 173", from several threads. Out: stderr
alone, so that stdout is the report. Convention: the part before the first ": " is the card's.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from planner.cli.terminal import say
from planner.render.outside_text import shown

_DETAIL = ": trying "  # what follows changes with every try, which a log need not see


@contextmanager
def shown_progress(quiet: bool) -> Iterator[Callable[[str], None]]:
    """A function that shows what it is told while the context is open."""
    if quiet:
        yield lambda text: None
    elif sys.stderr.isatty():
        with _in_place() as show:
            yield show
    else:
        yield _StageLines().show


class _StageLines:
    """Each stage once, on a line of its own: for logs and pipes."""

    def __init__(self) -> None:
        self._said: set[str] = set()
        self._lock = threading.Lock()

    def show(self, text: str) -> None:
        stage = text.partition(_DETAIL)[0]
        with self._lock:
            if stage in self._said:
                return
            self._said.add(stage)
            # Where nobody reads the log any more, the report may still be wanted.
            with suppress(OSError):
                say(shown(stage))


@contextmanager
def _in_place() -> Iterator[Callable[[str], None]]:
    """A spinner with the state of each card, which disappears at the end."""
    from rich.console import Console
    from rich.text import Text

    states: dict[str, str] = {}
    lock = threading.Lock()
    with Console(stderr=True).status("starting") as status:

        def show(text: str) -> None:
            text = shown(text)
            card, separator, _ = text.partition(": ")
            with lock:
                if not separator:
                    states.clear()
                states[card if separator else ""] = text
                if separator:
                    states.pop("", None)
                status.update(Text("\n  ".join(states.values()), overflow="ellipsis", no_wrap=True))

        yield show
