"""Loads records of one kind by name: cards, processors, links, hosts; ours and the user's on top.

In: the folder of a kind. Out: Records, the base of a database of that kind.
Convention: a user's record is checked when it is loaded; one of ours at its first use, so that an
estimate for one card does not read all of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Generic, TypeVar

from planner.errors import UsageError
from planner.hardware.names import NameIndex, RecordNames
from planner.hardware.record_parts import read_names
from planner.hardware.yaml_files import own_folder, parsed, read_text, record_files

S = TypeVar("S")

# Folders below a user's folder; records of cards may also be in that folder itself. The last is
# for planner/catalog.
FOLDERS = ("gpus", "cpus", "links", "hosts", "models")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind(Generic[S]):
    """The common properties of the records of one kind.

    In our own records the names come first and `after_names` ends them; see SCHEMA.md.
    """

    folder: str
    after_names: str
    leading_words: tuple[str, ...]
    read: Callable[[object, str], S]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry(Generic[S]):
    names: RecordNames
    load: Callable[[], S]


class Records(Generic[S]):
    """All records of one kind by name. `load_records()` makes it."""

    def __init__(
        self, own: list[_Entry[S]], users: list[_Entry[S]], leading_words: tuple[str, ...]
    ) -> None:
        self._index = NameIndex(leading_words)
        self._index.add([entry.names for entry in users])  # first, so the user's names win
        replaced = {entry.names.id for entry in users}
        kept = [entry for entry in own if entry.names.id not in replaced]
        self._index.add([entry.names for entry in kept])
        self._entries = {entry.names.id: entry for entry in (*kept, *users)}

    @property
    def ids(self) -> tuple[str, ...]:
        """Returns every id, without reading a record."""
        return tuple(self._entries)

    def all(self) -> tuple[S, ...]:
        """Returns every record, in no particular order."""
        return tuple(entry.load() for entry in self._entries.values())

    def by_id(self, record_id: str) -> S | None:
        """Returns the record with this id, or None."""
        entry = self._entries.get(record_id)
        return None if entry is None else entry.load()

    def find(
        self, name: str, *, what: str, then: str, unknown: type[UsageError]
    ) -> tuple[S, tuple[str, ...]]:
        """Returns the record of a name, and ids of others that the name could stand for.

        Raises:
            UsageError: as `unknown`: no record has the name, or several and none is assumed. The
                message names the kind (`what`), near names and the next step (`then`).
        """
        claim = self._index.find(name)
        if claim is None:
            near = self._index.near(name)
            hint = f"; near names: {', '.join(near)}" if near else ""
            raise unknown(f"no {what} named {name!r}{hint}; {then}")
        return self._entries[claim.id].load(), claim.others


def load_records(kind: Kind[S], extra_dir: Path | None) -> Records[S]:
    """Loads our records of a kind and, on top, those of a user's folder.

    Raises:
        UsageError: `extra_dir` is not a folder with records.
        HardwareDatabaseError: a record cannot be read or does not follow the schema.
    """
    own = [_own_entry(kind, path) for path in record_files(own_folder() / kind.folder)]
    paths = [] if extra_dir is None else users_files(kind.folder, extra_dir)
    return Records(own, [_users_entry(kind, path) for path in paths], kind.leading_words)


def _own_entry(kind: Kind[S], path: Path) -> _Entry[S]:
    text = read_text(path)
    end = re.search(rf"^{kind.after_names}:", text, re.MULTILINE)
    opening = text[: end.start()] if end else text

    @cache
    def load() -> S:
        return kind.read(parsed(text, path), str(path))

    return _Entry(names=read_names(parsed(opening, path), str(path)), load=load)


def users_files(wanted: str, folder: Path) -> list[Path]:
    """Returns the *.yaml of one kind in a user's folder.

    Raises:
        UsageError: it is no folder, or has no records of any kind.
    """
    if not folder.is_dir():
        raise UsageError(f"--hardware-db {folder}: no such folder")
    files = {name: record_files(folder / name) for name in FOLDERS}
    files["gpus"] = [*record_files(folder), *files["gpus"]]
    if not any(files.values()):
        raise UsageError(
            f"--hardware-db {folder}: no *.yaml there or under gpus/, cpus/, links/, hosts/ or "
            "models/"
        )
    return files[wanted]


def _users_entry(kind: Kind[S], path: Path) -> _Entry[S]:
    value = parsed(read_text(path), path)
    record = kind.read(value, str(path))
    return _Entry(names=read_names(value, str(path)), load=lambda: record)
