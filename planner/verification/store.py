"""Locates and opens the file of the verifications, and reports its errors.

In: nothing. Out: a sqlite3 connection inside a transaction. Convention: a file that is not ours,
or newer, or damaged is never written to. sqlite3 is imported when a file is opened, so that an
estimate without a history does not pay for it.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from planner.errors import HistoryError
from planner.machine.private_folders import make_folder

if TYPE_CHECKING:
    import sqlite3

VARIABLE = "VRAM_PLANNER_DATA"
STORE_VERSION = 1  # PRAGMA user_version
APPLICATION_ID = 0x76726D70  # PRAGMA application_id, "vrmp": distinguishes our file from others
_BUSY_S = 30.0  # another process locks the file only for the milliseconds of one write

_SCHEMA = (
    """CREATE TABLE verifications (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        recorded_at TEXT NOT NULL,
        card TEXT NOT NULL,
        driver TEXT,
        torch TEXT NOT NULL,
        target TEXT NOT NULL,
        precision TEXT NOT NULL,
        batch_size INTEGER NOT NULL,
        document TEXT NOT NULL
    )""",
    "CREATE INDEX verifications_by_card ON verifications (card)",
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {STORE_VERSION}",
)


def history_file() -> Path:
    """Returns history.sqlite in $VRAM_PLANNER_DATA, else in the user's data folder."""
    chosen = os.environ.get(VARIABLE)
    folder = Path(chosen) if chosen else Path(platformdirs.user_data_path("vram-planner"))
    return folder / "history.sqlite"


def has_history() -> bool:
    """Returns whether there is a file of verifications.

    Raises:
        HistoryError: its folder cannot be read.
    """
    return _exists(history_file())


@contextmanager
def reading() -> Iterator[sqlite3.Connection | None]:
    """Yields a connection to read from; None where nothing was kept yet. Creates nothing.

    Raises:
        HistoryError: the file cannot be read, is damaged, newer, or not a history.
    """
    file = history_file()
    if not _exists(file):
        yield None
        return
    with _errors_told(file), closing(_connected(file)) as connection:
        connection.execute("BEGIN")
        yield connection if _is_filled(connection, file) else None


@contextmanager
def writing() -> Iterator[sqlite3.Connection]:
    """Yields a connection in a transaction: all is written, or nothing. Creates a missing file.

    Raises:
        HistoryError: as in `reading`; or the disk is full, or the file may not be written.
    """
    file = history_file()
    with _errors_told(file):
        _create(file)
        with closing(_connected(file)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                if not _is_filled(connection, file):
                    for statement in _SCHEMA:
                        connection.execute(statement)
                else:
                    _refuse_damage(connection, file)
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                _roll_back(connection)
                raise


def _roll_back(connection: sqlite3.Connection) -> None:
    """Rolls back, and ignores errors: a failed COMMIT has done it already, a full disk may refuse.

    In both cases no harm is done: the next process to open the file undoes the journal.
    """
    import sqlite3

    with suppress(sqlite3.Error):
        connection.execute("ROLLBACK")


def _exists(file: Path) -> bool:
    try:
        file.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise _unusable(file, error.strerror or str(error)) from error
    return True


def _create(file: Path) -> None:
    """Creates an empty file for this user only; SQLite reads it as an empty database."""
    make_folder(file.parent)
    with suppress(FileExistsError):
        os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def _connected(file: Path) -> sqlite3.Connection:
    """Connects in autocommit mode, so that we choose BEGIN and COMMIT.

    The file is opened for writing, where that is allowed, also to read it: after a crash the
    journal has to be rolled back first. The rollback journal, unlike a write-ahead log, leaves one
    file that can be copied, and read where nothing may be written.
    """
    import sqlite3

    uri = f"{file.absolute().as_uri()}?mode=rw"
    return sqlite3.connect(uri, uri=True, timeout=_BUSY_S, isolation_level=None)


def _is_filled(connection: sqlite3.Connection, file: Path) -> bool:
    """Returns whether the file is one of our stores; False for an empty file.

    Raises:
        HistoryError: it is of another program, or was written by a later version.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if (version, application, tables) == (0, 0, 0):
        return False
    if application != APPLICATION_ID:
        raise _unusable(file, "it is the database of another program")
    if version > STORE_VERSION:
        raise HistoryError(
            f"the history {file} has format {version}, and this planner knows {STORE_VERSION}: a "
            f"later version wrote it; update planner, or set {VARIABLE} to another folder"
        )
    return True


def _refuse_damage(connection: sqlite3.Connection, file: Path) -> None:
    found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise _unusable(file, f"it is damaged ({found.splitlines()[-1]})")


@contextmanager
def _errors_told(file: Path) -> Iterator[None]:
    """Turns errors of SQLite and the system into HistoryErrors that say what to do."""
    import sqlite3

    try:
        yield
    except sqlite3.Error as error:
        raise _told(file, error) from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _unwritten(file, error.strerror or str(error)) from error
        raise _unusable(file, error.strerror or str(error)) from error


def _told(file: Path, error: sqlite3.Error) -> HistoryError:
    text = str(error)
    if "full" in text or "disk I/O error" in text:
        return _unwritten(file, text)
    if "locked" in text:
        return HistoryError(
            f"the history {file} has been in use by another process for {_BUSY_S:.0f} s; try again "
            "when that has ended"
        )
    if "not a database" in text:
        return _unusable(file, "it is not a SQLite file")
    if "malformed" in text or "no such" in text:
        return _unusable(file, f"it is damaged ({text})")
    if "readonly" in text:
        return HistoryError(
            f"the history {file} may be read but not written; make it writable, or set {VARIABLE} "
            "to a folder of your own"
        )
    return _unusable(file, text)


def _unwritten(file: Path, found: str) -> HistoryError:
    return HistoryError(
        f"the history {file} could not be written ({found}); what it held before is unchanged; "
        f"free some space, or set {VARIABLE} to a folder on another disk"
    )


def _unusable(file: Path, found: str) -> HistoryError:
    return HistoryError(
        f"the history {file} cannot be used: {found}; it is left as it is; move it away, or set "
        f"{VARIABLE} to another folder"
    )
