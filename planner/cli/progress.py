"""Progress on stderr: a line in place on a terminal, a short line per stage elsewhere.

In: texts like "t4: searching the largest batch: trying 173", from several threads. Out: stderr
alone, so that stdout is the report. Convention: the part before the first ": " is the card's; what
is before "; now " has been found, and stays on the card's line.
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


class _Lines:
    """What is known and done of each card, and for how long it goes on; drawn again and again."""

    def __init__(self) -> None:
        self._found: dict[str, str] = {}
        self._doing: dict[str, str] = {"": "starting"}
        self._lock = threading.Lock()
        self._began_s = time.monotonic()

    def show(self, text: str) -> None:
        """Replaces the card's line, or all lines by a text of no card."""
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
        # Beside what is found there is room for the newest word alone: "trying 173".
        words = doing if found is None else f"{found}; {doing.rpartition(': ')[2]}"
        return f"{card}: {words}" if card else words


@contextmanager
def _in_place() -> Iterator[Callable[[str], None]]:
    """A spinner with the seconds and the state of each card, which disappears at the end."""
    from rich.console import Console

    lines = _Lines()
    with Console(stderr=True).status(lines):
        yield lines.show
