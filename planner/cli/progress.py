"""Shows progress on stderr: in place on a terminal, a short line per stage elsewhere.

In: texts like "t4: searching the largest batch: trying 173", from several threads. Out: stderr
alone, so that stdout is the report. Convention: the part before the first ": " names the card; the
part before "; now " is an answer, which stays on the card's line.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from planner.cli.terminal import say
from planner.config.options import FOUND_BEFORE
from planner.render.outside_text import shown

if TYPE_CHECKING:
    from rich.console import RenderableType

_DETAIL = ": trying "  # the text after it changes with every try: too much for a log


@contextmanager
def shown_progress(quiet: bool) -> Iterator[Callable[[str], None]]:
    """Yields a function that shows a text of progress while the context is open."""
    if quiet:
        yield lambda text: None
    elif sys.stderr.isatty():
        with _in_place() as show:
            yield show
    else:
        yield _StageLines().show


class _StageLines:
    """Shows each stage once, on a line of its own: for logs and pipes."""

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


class _Lines:
    """The answers and the present work of each card, and the seconds; rich draws it repeatedly."""

    def __init__(self) -> None:
        self._found: dict[str, str] = {}
        self._doing: dict[str, str] = {"": "starting"}
        self._lock = threading.Lock()
        self._began_s = time.monotonic()

    def show(self, text: str) -> None:
        """Replaces the line of a card; a text without a card replaces all lines."""
        card, separator, rest = shown(text).partition(": ")
        with self._lock:
            if not separator:
                self._found, self._doing = {}, {"": card}
                return
            found, now, doing = rest.rpartition(FOUND_BEFORE)
            if now:
                before = self._found.get(card)
                self._found[card] = found if before is None else f"{before}, {found}"
            self._doing.pop("", None)
            self._doing[card] = doing

    def __rich__(self) -> RenderableType:
        from rich.text import Text

        with self._lock:
            lines = [self._line(card, doing) for card, doing in self._doing.items()]
        passed = f"{time.monotonic() - self._began_s:.0f} s"
        text = f"\n{'':{len(passed)}}  ".join(lines)
        return Text(f"{passed}  {text}", overflow="ellipsis", no_wrap=True)

    def _line(self, card: str, doing: str) -> str:
        found = self._found.get(card)
        # Next to the answers there is room only for the newest words: "trying 173".
        words = doing if found is None else f"{found}; {doing.rpartition(': ')[2]}"
        return f"{card}: {words}" if card else words


@contextmanager
def _in_place() -> Iterator[Callable[[str], None]]:
    """Shows a spinner, the seconds and the state of each card; they disappear at the end."""
    from rich.console import Console

    lines = _Lines()
    with Console(stderr=True).status(lines):
        yield lines.show
