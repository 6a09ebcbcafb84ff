"""The folder in which torch's compiler keeps what it has made: a new one for each run.

In: a folder of this child. Out: TORCHINDUCTOR_CACHE_DIR of a run. Convention: a run compiles as on
a machine that has compiled nothing before. What step 1 tunes takes memory of the card, so that with
a folder which others fill the same step would have another peak from time to time; and what the
emulated card has tuned must not reach the programs of the user.
"""

from __future__ import annotations

import os
import shutil
import tempfile

_VARIABLE = "TORCHINDUCTOR_CACHE_DIR"
_PREFIX = "planner-compiled-"
_OF_RUN = "torchinductor_"  # as torch names its folder: what is in it is no code of the user


def made() -> str | None:
    """Returns a new folder for the runs of a child; None where none can be made."""
    try:
        return tempfile.mkdtemp(prefix=_PREFIX)
    except OSError:
        return None


def removed(folder: str | None) -> None:
    """Removes a folder with all that is in it."""
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)


def of_run(folder: str | None, number: int) -> str | None:
    """Returns the folder of a run, which the compiler makes when it needs it."""
    return None if folder is None else os.path.join(folder, f"{_OF_RUN}{number}")


def was_used(folder: str | None) -> bool:
    """Returns whether the compiler has made the folder."""
    return folder is not None and os.path.isdir(folder)


def use(folder: str | None) -> None:
    """Makes this process compile into a folder."""
    if folder is not None:
        os.environ[_VARIABLE] = folder
