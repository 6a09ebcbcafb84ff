"""The results of a server: files of a private temporary folder, which ends with the server.

In: files that `--save` wrote. Out: a line on each, and pages. Convention: the folder is locked as
long as its server lives; a folder without a lock is that of a killed server, and is removed.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from planner.render.html.page import page_of
from planner.render.outside_text import shown_record
from planner.results.estimate import Estimate
from planner.results.one_line import one_line
from planner.results.result import Result
from planner.results.saved_file import load

_PREFIX = "vram-planner-ui-"
_LOCK, _DRAFT = "lock", "lock.new"
_RESULT = "result.planner"


@contextmanager
def private_folder() -> Iterator[Path]:
    """Yields a new private folder, and removes it in the end; removes those of killed servers.

    Raises:
        OSError: it cannot be created.
    """
    remove_left_over(Path(tempfile.gettempdir()))
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    try:
        with (folder / _DRAFT).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            (folder / _DRAFT).rename(folder / _LOCK)  # nobody sees it without its lock
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_left_over(parent: Path) -> None:
    """Removes this user's folders of servers that no longer live."""
    for folder in parent.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            if folder.is_symlink() or folder.lstat().st_uid != os.getuid():
                continue
            with (folder / _LOCK).open("r") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)


class KeptResults:
    """The results in a folder, by the name of their job."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def place(self, job: str) -> Path:
        """Returns the file for the result of a new job, in a folder of its own.

        Raises:
            OSError: the folder cannot be created.
        """
        place = self._folder / job
        place.mkdir(mode=0o700)
        return place / _RESULT

    def file(self, job: str) -> Path:
        """Returns the file of the result, which may be missing."""
        return self._folder / job / _RESULT

    def remove(self, job: str) -> None:
        """Removes the result, and drafts of it."""
        shutil.rmtree(self._folder / job, ignore_errors=True)

    def lines(self, job: str) -> list[str]:
        """Returns the verdict of the result: a line for each card.

        Raises:
            DocumentError: the result cannot be read.
        """
        return verdict_lines(load(self.file(job)))

    def page(self, job: str, other: str | None = None) -> str:
        """Returns the page of the result, or of two side by side.

        Raises:
            DocumentError: a result cannot be read.
        """
        first = load(self.file(job))
        second = None if other is None else load(self.file(other))
        return page_of(first, other=second)


def verdict_lines(result: Result) -> list[str]:
    """Returns the verdict in words, as the report begins with it."""
    if not isinstance(result, Estimate):
        return [one_line(result)]
    from planner.render.terminal.verdict import verdict

    lines = []
    for name, words in verdict(shown_record(result)):
        lines.append(f"{name}: {words.plain}" if name else words.plain)
    return lines
