"""The history: what is kept and found again."""

from __future__ import annotations

import json
import sqlite3
import stat
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from planner.errors import HistoryError, UsageError
from planner.results.verification import DeviceKind
from planner.units import MIB
from planner.verification import history


def test_what_is_kept_is_found_again(store: Path, make: Any) -> None:
    kept = make(reserved_mib=1024)
    time = datetime(2026, 11, 24, 23, 30, 5, tzinfo=timezone(timedelta(hours=1)))
    number = history.add(kept, recorded_at=time)
    found = history.entry(number)
    assert (found.id, found.recorded_at) == (1, "2026-11-24T22:30:05Z")
    assert (found.card, found.driver, found.torch) == ("Tesla T4", "550.54.15", "2.14.1+cu130")
    assert (found.target, found.precision, found.batch_size) == ("net.py", "amp-fp16", 8)
    assert (found.mode, found.confirmed) == ("train", True)
    assert (found.predicted, found.measured) == (kept.predicted, kept.measured)
    assert json.loads(found.document) == kept.to_dict()
    assert found.to_dict() == {"id": 1, "recorded_at": found.recorded_at, **kept.to_dict()}


def test_folder_and_file_are_for_the_user_alone(store: Path, make: Any) -> None:
    history.add(make())
    assert stat.S_IMODE(store.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(store.stat().st_mode) == 0o600
    assert [path.name for path in store.parent.iterdir()] == ["history.sqlite"]


def test_without_a_store_there_are_no_entries_and_none_is_made(store: Path) -> None:
    assert history.entries() == ()
    assert history.ids_kept() == ()
    assert history.delete_all() == 0
    with pytest.raises(UsageError, match="no entry 3"):
        history.delete([3])
    assert not store.parent.exists()


@pytest.mark.parametrize("kind", [DeviceKind.EMULATED, DeviceKind.CPU])
def test_only_physical_devices_are_kept(store: Path, make: Any, kind: DeviceKind) -> None:
    with pytest.raises(UsageError, match=f"Tesla T4 \\({kind.value}\\)"):
        history.add(make(kind=kind))
    assert not store.exists()


def test_entries_by_card_and_target(store: Path, make: Any) -> None:
    for card, target in (("Tesla T4", "a.py"), ("NVIDIA L4", "a.py"), ("Tesla T4", "b.py")):
        history.add(make(card=card, target=target))
    assert [one.id for one in history.entries()] == [1, 2, 3]
    assert [one.id for one in history.entries(card="Tesla T4")] == [1, 3]
    assert [one.id for one in history.entries(card="Tesla T4", target="a.py")] == [1]
    assert [one.id for one in history.entries(ids=[3, 2])] == [2, 3]
    assert history.entries(target="'; DROP TABLE verifications; --") == ()


def test_delete_takes_all_or_none(store: Path, make: Any) -> None:
    for _ in range(3):
        history.add(make())
    with pytest.raises(UsageError, match="no entries 7, 9"):
        history.delete([1, 9, 7])
    assert history.ids_kept() == (1, 2, 3)
    history.delete([1, 3, 3])
    assert history.ids_kept() == (2,)
    assert history.delete_all() == 1
    assert history.entries() == ()
    assert history.add(make()) == 4, "an id is not given twice"


def test_exported_lines_are_documents(store: Path, make: Any) -> None:
    history.add(make())
    history.add(make(target="other.py"))
    documents = [json.loads(line) for line in history.exported(history.entries())]
    assert [(one["id"], one["target"]) for one in documents] == [(1, "net.py"), (2, "other.py")]


def test_keys_of_a_later_planner_are_kept_and_not_minded(store: Path, make: Any) -> None:
    history.add(make())
    with sqlite3.connect(store) as connection:
        (text,) = connection.execute("SELECT document FROM verifications").fetchone()
        document = json.loads(text)
        document["predicted"]["novel_bytes"] = 1
        connection.execute("UPDATE verifications SET document = ?", [json.dumps(document)])
    assert history.entry(1).predicted.peak_reserved_bytes == 1000 * MIB
    assert history.entry(1).to_dict()["predicted"]["novel_bytes"] == 1


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"config": 1}'])
def test_a_document_that_cannot_be_read_is_named_and_can_be_deleted(
    store: Path, make: Any, text: str
) -> None:
    history.add(make())
    with sqlite3.connect(store) as connection:
        connection.execute("UPDATE verifications SET document = ?", [text])
    with pytest.raises(HistoryError, match=r"entry 1 of the history .*history delete 1"):
        history.entries()
    history.delete([1])
    assert history.entries() == ()


def test_a_figure_that_is_no_number_is_refused(store: Path, make: Any) -> None:
    history.add(make())
    with sqlite3.connect(store) as connection:
        (text,) = connection.execute("SELECT document FROM verifications").fetchone()
        document = json.loads(text)
        document["measured"]["peak_reserved_bytes"] = "much"
        connection.execute("UPDATE verifications SET document = ?", [json.dumps(document)])
    with pytest.raises(HistoryError, match="peak_reserved_bytes is 'much'"):
        history.entries()


def test_a_driver_may_be_unknown(store: Path, make: Any) -> None:
    kept = make()
    history.add(replace(kept, device=replace(kept.device, driver=None)))
    assert history.entry(1).driver is None


@pytest.mark.parametrize("number", [2**63 - 1, 2**63, 99_999_999_999_999_999_999])
def test_an_id_beyond_any_is_not_there(store: Path, make: Any, number: int) -> None:
    history.add(make())
    with pytest.raises(UsageError, match=f"the history has no entry {number}; `planner history`"):
        history.entry(number)
    with pytest.raises(UsageError, match=f"the history has no entry {number}; `planner history`"):
        history.delete([number])
