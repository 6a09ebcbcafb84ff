"""Finds the least answer of all processes that torchrun has started on this machine.

In: this process's answer. Out: the least. Convention: each rank leaves its answer as a file in a
folder of these ranks only, and waits for the others; the last one to read removes the folder.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from planner.errors import ChildError, ChildTimeoutError

_WAIT_S = 3600.0  # the others may be busy with a larger card
_PAUSE_S = 0.05
# These variables distinguish one start of the ranks from another.
_NAMES = ("TORCHELASTIC_RUN_ID", "MASTER_PORT", "TORCHELASTIC_RESTART_COUNT")


def smallest_of_ranks(
    answer: int | None,
    *,
    environment: Mapping[str, str] | None = None,
    wait_s: float = _WAIT_S,
) -> int | None:
    """Returns the least answer; None without torchrun, or where a rank has none.

    Raises:
        ChildTimeoutError: another rank has left no answer in time.
    """
    given = os.environ if environment is None else environment
    count = int(given.get("LOCAL_WORLD_SIZE") or 1)
    if count < 2 or "LOCAL_RANK" not in given:
        return None
    folder = _folder([given.get(name, "") for name in _NAMES])
    _leave(folder, f"answer-{given['LOCAL_RANK']}", "" if answer is None else str(answer))
    answers = [int(text) if text else None for text in _wait(folder, "answer-*", count, wait_s)]
    _leave(folder, f"read-{given['LOCAL_RANK']}", "")
    with suppress(FileNotFoundError):  # another rank, just as late, removes the folder meanwhile
        if len(list(folder.glob("read-*"))) == count:
            shutil.rmtree(folder, ignore_errors=True)
    known = [one for one in answers if one is not None]
    return min(known) if len(known) == count else None


def _folder(parts: Sequence[str]) -> Path:
    name = "-".join("".join(filter(str.isalnum, part)) for part in parts)
    folder = Path(tempfile.gettempdir()) / f"vram-planner-ranks-{os.getuid()}-{name}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()  # its name can be guessed, and every user may create folders there
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise ChildError(
            f"{folder}, where the ranks leave their results, is not a private folder of yours; "
            "delete it, or set TMPDIR to a folder of your own"
        )
    return folder


def _leave(folder: Path, name: str, text: str) -> None:
    """Writes the file whole or not at all: the others read it as soon as it exists."""
    with suppress(FileNotFoundError):  # the last one has removed the folder already
        draft = folder / f".{name}"
        draft.write_text(text)
        draft.rename(folder / name)


def _wait(folder: Path, pattern: str, count: int, wait_s: float) -> list[str]:
    deadline = time.monotonic() + wait_s
    while len(found := list(folder.glob(pattern))) < count:
        if time.monotonic() > deadline:
            raise ChildTimeoutError(
                f"of {count} ranks {len(found)} have found their largest batch after {wait_s:g} s; "
                "look what the others say"
            )
        time.sleep(_PAUSE_S)
    return [path.read_text() for path in found]
