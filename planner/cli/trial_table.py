"""Shows the trials of an advice while they end: a live table on a terminal, lines elsewhere.

In: texts of progress and Trials, from several threads. Out: stderr alone. Convention: the table
disappears at the end, because the report has all of it.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from planner.cli.progress import shown_progress
from planner.render.outside_text import shown
from planner.results.advice import Trial
from planner.units import format_bytes, format_significant

if TYPE_CHECKING:
    from rich.console import RenderableType

_MOST_LINES = 16  # more would scroll out of a small terminal
Both = tuple[Callable[[str], None], Callable[[Trial], None]]


@contextmanager
def shown_trials(quiet: bool) -> Iterator[Both]:
    """Yields functions for a text of progress and for a Trial, while the context is open."""
    if not quiet and sys.stderr.isatty():
        from rich.console import Console
        from rich.live import Live

        table = _TrialTable()
        with Live(table, console=Console(stderr=True), transient=True, refresh_per_second=4):
            yield table.say, table.add
    else:
        with shown_progress(quiet) as say:
            yield say, lambda trial: say(f"tried: {trial_words(trial)}")


def trial_words(trial: Trial) -> str:
    """Returns a trial on one line."""
    name = " + ".join(trial.levers) or "as requested"
    if trial.device_total_bytes is None:
        return f"{name}: {trial.state.value}"
    fits = "fits" if trial.fits else "does not fit"
    words = [f"{name}: {fits}", format_bytes(trial.device_total_bytes)]
    if trial.levers and trial.time_factor is not None:
        words.append(f"time x {format_significant(trial.time_factor)}")
    return ", ".join(words)


class _TrialTable:
    """The trials so far and the present work; rich draws it repeatedly."""

    def __init__(self) -> None:
        self._lines: dict[tuple[str, ...], str] = {}
        self._doing = "starting"
        self._lock = threading.Lock()
        self._began_s = time.monotonic()

    def say(self, text: str) -> None:
        """Replaces the line on the present work."""
        with self._lock:
            self._doing = shown(text)

    def add(self, trial: Trial) -> None:
        """Adds a trial that has figures."""
        if trial.device_total_bytes is not None:
            with self._lock:
                self._lines[trial.levers] = shown(trial_words(trial))

    def __rich__(self) -> RenderableType:
        from rich.text import Text

        with self._lock:
            lines = list(self._lines.values())[-_MOST_LINES:]
            now = f"{time.monotonic() - self._began_s:.0f} s  {self._doing}"
        return Text("\n".join([*lines, now]), overflow="ellipsis", no_wrap=True)
