"""The folder of a sweep: rows in SQLite, each kept as soon as it is there.

In: cases and rows. Out: the rows again, in the order of the cases. Convention: one process writes a
folder at a time; a row is there as a whole or not at all, however the process ends.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from planner.errors import DocumentError, OutputError
from planner.sweeps.case import COLUMNS, SweepCase, SweepRow

FILE = "sweep.sqlite"
_LOCK = "lock"
_APPLICATION_ID = 0x76726D73  # PRAGMA application_id, "vrms"
_VERSION = 1  # PRAGMA user_version
_SCHEMA = (
    "CREATE TABLE cases (position INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, "
    "target TEXT NOT NULL, gpu TEXT NOT NULL, options TEXT NOT NULL)",
    f"CREATE TABLE rows ({', '.join(COLUMNS)}, PRIMARY KEY (key))",
    f"PRAGMA application_id = {_APPLICATION_ID}",
    f"PRAGMA user_version = {_VERSION}",
)
_IN_ORDER = (
    f"SELECT {', '.join(f'rows.{name}' for name in COLUMNS)} FROM cases JOIN rows USING (key) "
    "ORDER BY position"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepStore:
    """The rows of a folder. `connection` is for this process alone."""

    file: Path
    connection: sqlite3.Connection

    def add_cases(self, cases: Iterable[SweepCase]) -> None:
        """Adds the cases that are not there yet, behind the others.

        Raises:
            OutputError: the disk is full, or the file cannot be written.
        """
        with _write_errors(self.file), self.connection:
            self.connection.executemany(
                "INSERT OR IGNORE INTO cases (key, target, gpu, options) VALUES (?, ?, ?, ?)",
                [(case.key, case.target, case.gpu, case.options) for case in cases],
            )

    def keep(self, rows: Sequence[SweepRow]) -> None:
        """Keeps rows, all or none; a row of the same case is replaced.

        Raises:
            OutputError: the disk is full, or the file cannot be written.
        """
        marks = ", ".join("?" * len(COLUMNS))
        with _write_errors(self.file), self.connection:
            self.connection.executemany(
                f"INSERT OR REPLACE INTO rows ({', '.join(COLUMNS)}) VALUES ({marks})",
                [tuple(row.to_record().values()) for row in rows],
            )

    def rows(self) -> tuple[SweepRow, ...]:
        """Returns all rows, in the order of their cases.

        Raises:
            DocumentError: the file is damaged.
        """
        with _read_errors(self.file):
            found = self.connection.execute(_IN_ORDER).fetchall()
        return tuple(
            SweepRow.from_record(dict(zip(COLUMNS, cells, strict=True))) for cells in found
        )

    def count(self) -> int:
        """Returns how many cases were asked, with and without a row."""
        with _read_errors(self.file):
            (count,) = self.connection.execute("SELECT count(*) FROM cases").fetchone()
        return int(count)


@contextmanager
def writing(folder: Path) -> Iterator[SweepStore]:
    """Yields the store of a folder, which is created; no other process can write it meanwhile.

    Raises:
        OutputError: another sweep writes the folder, or it cannot be written.
        DocumentError: its file is not that of a sweep, or damaged.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / _LOCK, timeout=0)
        lock.acquire()
    except Timeout:
        raise OutputError(
            f"another sweep is writing {folder}: wait for its end, or choose another folder with "
            "--out; `planner sweep show` shows what it has by now"
        ) from None
    except OSError as error:
        raise OutputError(f"{folder} cannot be written: {error.strerror or error}") from error
    file = folder / FILE
    try:
        with _write_errors(file), closing(_connected(file)) as connection:
            # Readers do not wait for the writer, and a killed one does no harm.
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            if _is_empty(connection):
                with connection:
                    for statement in ("BEGIN", *_SCHEMA):
                        connection.execute(statement)
            _check(connection, file)
            yield SweepStore(file=file, connection=connection)
    finally:
        lock.release()


@contextmanager
def reading(folder: Path) -> Iterator[SweepStore]:
    """Yields the store of a folder, or of its file, to read from; also while a sweep writes it.

    Raises:
        DocumentError: there is no sweep, or the file is damaged or of another program.
    """
    file = folder if folder.is_file() else folder / FILE
    if not file.is_file():
        raise DocumentError(
            f"there is no sweep in {folder}: name the folder that `planner sweep` wrote with --out"
        )
    with _read_errors(file), closing(_connected(file)) as connection:
        _check(connection, file)
        yield SweepStore(file=file, connection=connection)


def _connected(file: Path) -> sqlite3.Connection:
    return sqlite3.connect(file, timeout=30.0, isolation_level="IMMEDIATE")


def _is_empty(connection: sqlite3.Connection) -> bool:
    (count,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return int(count) == 0


def _check(connection: sqlite3.Connection, file: Path) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != _APPLICATION_ID:
        raise DocumentError(f"{file} is not the file of a sweep; choose another folder")
    if version != _VERSION:
        raise DocumentError(
            f"{file} is of version {version}, and this planner knows {_VERSION}: a later planner "
            "wrote it; update planner"
        )


@contextmanager
def _write_errors(file: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise OutputError(
            f"{file} cannot be written: {error}; the rows that were kept before are still there: "
            "make room, and start the same sweep again"
        ) from error


@contextmanager
def _read_errors(file: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise DocumentError(f"{file} cannot be read as a sweep: {error}") from error
