"""Keeps, finds, deletes and exports past verifications, and kernels of traces.

In: Verifications on a physical device, documents of traces. Out: HistoryEntries, TraceEntries, in
the order in which they were kept.
Convention: the whole JSON document is kept; the other columns are for finding it again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from planner.errors import HistoryError, UsageError
from planner.results.verification import DeviceKind, Figures, Verification
from planner.verification.kept_traces import KIND, TraceEntry, trace_entry
from planner.verification.step_identity import StepIdentity, step_identity
from planner.verification.store import history_file, reading, writing

if TYPE_CHECKING:
    import sqlite3

_COLUMNS = (
    "id", "recorded_at", "card", "driver", "torch", "target", "precision", "batch_size", "document",
)  # fmt: skip
_GREATEST_ID = (1 << 63) - 1  # the greatest that SQLite can hold
_SELECT = f"SELECT {', '.join(_COLUMNS)} FROM verifications"


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEntry:
    """One verification as it was kept.

    `recorded_at` is UTC, like 2026-11-24T22:30:05Z. `card`, `driver` and `torch` are as the
    device and PyTorch name them; `driver` is None where it was not known. `mode` is that of the
    step; `clip_grad_norm` and `ema` are None where the step had none, or where an older planner
    kept the entry. `step` holds the known parts of the step. `document` is the JSON text of the
    Verification.
    """

    id: int
    recorded_at: str
    card: str
    driver: str | None
    torch: str
    target: str
    precision: str
    batch_size: int
    mode: str
    predicted: Figures
    measured: Figures
    confirmed: bool
    step: StepIdentity
    document: str
    clip_grad_norm: float | None = None
    ema: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Returns `id`, `recorded_at` and the keys of the verification."""
        return {"id": self.id, "recorded_at": self.recorded_at, **json.loads(self.document)}


def add(verification: Verification, *, recorded_at: datetime | None = None) -> int:
    """Keeps a verification and returns its id. `recorded_at` is now unless it is given.

    Raises:
        UsageError: it did not run on a physical device, so it shows nothing about one.
        HistoryError: the store cannot be written; what it held is unchanged.
    """
    device = verification.device
    if device.kind is not DeviceKind.PHYSICAL:
        raise UsageError(
            f"only verifications on a physical device are kept; this one ran on {device.name} "
            f"({device.kind.value})"
        )
    return _inserted(
        _time(recorded_at),
        _column(device.name),
        device.driver,
        verification.versions.torch,
        _column(verification.target),
        verification.config.precision_name,
        verification.config.batch_size,
        json.dumps(verification.to_dict()),
    )


def add_trace(
    document: Mapping[str, Any], *, torch: str, recorded_at: datetime | None = None
) -> int:
    """Keeps the kernels of a trace, a document of kept_traces.py, and returns its id.

    A trace that is kept already is not kept again. `recorded_at` is now unless it is given.

    Raises:
        HistoryError: the store cannot be read or written; what it held is unchanged.
    """
    card, target = str(document["card"]), str(document["target"])
    for known in kept(card=card, target=target):
        return known.id
    return _inserted(
        _time(recorded_at), _column(card), None, torch, _column(target), "", 0, json.dumps(document)
    )


def _time(recorded_at: datetime | None) -> str:
    time = (recorded_at or datetime.now(timezone.utc)).astimezone(timezone.utc)
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def _inserted(*row: str | int | None) -> int:
    """Inserts the columns after the id; returns the id."""
    names, marks = ", ".join(_COLUMNS[1:]), ", ".join("?" * len(row))
    with writing() as connection:
        done = connection.execute(f"INSERT INTO verifications ({names}) VALUES ({marks})", row)
        assert done.lastrowid is not None
        return done.lastrowid


def entries(
    *, card: str | None = None, target: str | None = None, ids: Sequence[int] | None = None
) -> tuple[HistoryEntry, ...]:
    """Returns the verifications of a card, of a target, or with these ids, oldest first; else all.

    Raises:
        HistoryError: the store cannot be read. A store that does not exist has no entries.
    """
    found = kept(card=card, target=target, ids=ids)
    return tuple(one for one in found if isinstance(one, HistoryEntry))


def kept(
    *, card: str | None = None, target: str | None = None, ids: Sequence[int] | None = None
) -> tuple[HistoryEntry | TraceEntry, ...]:
    """Returns verifications and traces, chosen as by `entries`, oldest first.

    Raises:
        HistoryError: the store cannot be read. A store that does not exist has no entries.
    """
    asked: list[tuple[str, tuple[str | int, ...]]] = []
    if card is not None:
        asked.append(("card = ?", (_column(card),)))
    if target is not None:
        asked.append(("target = ?", (_column(target),)))
    if ids is not None:
        ids = [number for number in ids if number <= _GREATEST_ID]
        asked.append((f"id IN ({', '.join('?' * len(ids))})", tuple(ids)))
    where = f" WHERE {' AND '.join(text for text, _ in asked)}" if asked else ""
    values = [value for _, given in asked for value in given]
    with reading() as connection:
        if connection is None:
            return ()
        rows = connection.execute(f"{_SELECT}{where} ORDER BY id", values).fetchall()
    return tuple(_entry(dict(zip(_COLUMNS, row, strict=True))) for row in rows)


def entry(entry_id: int) -> HistoryEntry | TraceEntry:
    """Returns the entry with that id.

    Raises:
        UsageError: there is none. HistoryError: the store cannot be read.
    """
    found = kept(ids=[entry_id])
    if not found:
        raise _unknown([entry_id])
    return found[0]


def ids_kept() -> tuple[int, ...]:
    """Returns the ids of all entries, also of those that can no longer be read.

    Raises:
        HistoryError: the store cannot be read.
    """
    with reading() as connection:
        if connection is None:
            return ()
        rows = connection.execute("SELECT id FROM verifications ORDER BY id").fetchall()
    return tuple(number for (number,) in rows)


def delete(ids: Iterable[int]) -> None:
    """Deletes these entries: all of them, or none where one does not exist.

    Raises:
        UsageError: an id does not exist. HistoryError: the store cannot be written.
    """
    wanted = sorted(set(ids))
    check_ids(wanted)  # first, also so that nothing is created where there is no store
    with writing() as connection:
        missing = [number for number in wanted if not _delete(connection, number)]
        if missing:  # the error rolls the other deletions back
            raise _unknown(missing)


def check_ids(ids: Iterable[int]) -> None:
    """Checks that the entries exist.

    Raises:
        UsageError: an id does not exist. HistoryError: the store cannot be read.
    """
    missing = sorted(set(ids) - set(ids_kept()))
    if missing:
        raise _unknown(missing)


def _delete(connection: sqlite3.Connection, number: int) -> bool:
    done = connection.execute("DELETE FROM verifications WHERE id = ?", (number,))
    return done.rowcount > 0


def delete_all() -> int:
    """Deletes every entry, and returns how many there were.

    Raises:
        HistoryError: the store cannot be written.
    """
    if not ids_kept():
        return 0
    with writing() as connection:
        return connection.execute("DELETE FROM verifications").rowcount


def exported(found: Iterable[HistoryEntry | TraceEntry]) -> Iterator[str]:
    """Yields a line of JSON for each entry, without its line break."""
    for one in found:
        yield json.dumps(one.to_dict())


def _column(text: str) -> str:
    """Returns the text in a form that SQLite can hold: a path may have bytes that are no UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _unknown(ids: Sequence[int]) -> UsageError:
    numbers = ", ".join(map(str, ids))
    noun = "entry" if len(ids) == 1 else "entries"
    return UsageError(f"the history has no {noun} {numbers}; `planner history` lists them")


def _entry(row: Mapping[str, Any]) -> HistoryEntry | TraceEntry:
    try:
        document = json.loads(row["document"])
        if document.get("kind") == KIND:
            return trace_entry(row, document)
        return HistoryEntry(
            **row,
            mode=str(document["config"]["mode"]),
            predicted=_figures(document["predicted"]),
            measured=_figures(document["measured"]),
            confirmed=bool(document["confirmed"]),
            step=step_identity(document),
            clip_grad_norm=document["config"].get("clip_grad_norm"),
            ema=document["config"].get("ema"),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise HistoryError(
            f"entry {row['id']} of the history {history_file()} cannot be read ({error!r}); "
            f"delete it with: planner history delete {row['id']}"
        ) from error


def _figures(document: Mapping[str, Any]) -> Figures:
    """Reads Figures; ignores the further keys that a later planner may have written."""
    given = {field.name: document.get(field.name) for field in fields(Figures)}
    for name, value in given.items():
        if not (value is None or isinstance(value, int | float)):
            raise TypeError(f"{name} is {value!r}, not a number")
    return Figures(**given)
