"""The file of the history: damage, other programs, a full disk, two writers, a killed one."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from planner.errors import HistoryError
from planner.verification import history
from planner.verification import store as store_module
from planner.verification.store import STORE_VERSION, history_file, writing

HERE = Path(__file__).parent


def python(code: str, store: Path, **options: Any) -> subprocess.Popen[str]:
    """A process that can make verifications as the tests do."""
    return subprocess.Popen(
        [sys.executable, "-c", f"from conftest import verification\n{code}"],
        env={
            **os.environ,
            "VRAM_PLANNER_DATA": str(store.parent),
            "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parents[2])]),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def refused(store: Path, make: Any, said: str) -> None:
    """Reading and writing both fail with this message, and the file stays as it is."""
    before = store.read_bytes() if store.is_file() else None
    for act in (history.entries, lambda: history.add(make()), history.delete_all):
        with pytest.raises(HistoryError, match=said) as caught:
            act()
        assert str(store) in str(caught.value)
        assert "VRAM_PLANNER_DATA" in str(caught.value)
    if before is not None:
        assert store.read_bytes() == before


def test_the_folder_is_the_users_unless_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VRAM_PLANNER_DATA")
    monkeypatch.setenv("XDG_DATA_HOME", "/data-of-the-user")
    assert history_file() == Path("/data-of-the-user/vram-planner/history.sqlite")


def test_a_file_that_is_not_sqlite(store: Path, make: Any) -> None:
    store.parent.mkdir()
    store.write_text("id,card\n" * 1000)
    refused(store, make, "it is not a SQLite file; it is left as it is")


def test_a_database_of_another_program(store: Path, make: Any) -> None:
    store.parent.mkdir()
    with sqlite3.connect(store) as connection:
        connection.execute("CREATE TABLE bookmarks (url TEXT)")
    refused(store, make, "it is the database of another program")


def test_a_later_format(store: Path, make: Any) -> None:
    history.add(make())
    with sqlite3.connect(store) as connection:
        connection.execute("PRAGMA user_version = 7")
    refused(store, make, f"has format 7, and this planner knows {STORE_VERSION}.*update planner")


def test_a_truncated_file(store: Path, make: Any) -> None:
    for _ in range(20):
        history.add(make())
    os.truncate(store, store.stat().st_size // 2 // 4096 * 4096)
    refused(store, make, "it is damaged")


def test_a_page_of_garbage(store: Path, make: Any) -> None:
    for _ in range(20):
        history.add(make())
    with open(store, "r+b") as file:
        file.seek(2 * 4096)
        file.write(b"\xff" * 4096 * 3)
    before = store.read_bytes()
    with pytest.raises(HistoryError, match="it is damaged"):
        history.add(make())
    assert store.read_bytes() == before


def test_a_table_that_is_missing(store: Path, make: Any) -> None:
    history.add(make())
    with sqlite3.connect(store) as connection:
        connection.execute("DROP TABLE verifications")
    refused(store, make, "it is damaged .no such table")


def test_an_empty_file_is_an_empty_history(store: Path, make: Any) -> None:
    store.parent.mkdir()
    store.touch()
    assert history.entries() == ()
    assert history.add(make()) == 1


def test_a_folder_in_its_place(store: Path, make: Any) -> None:
    store.mkdir(parents=True)
    refused(store, make, "cannot be used: unable to open")


def test_a_file_in_the_place_of_its_folder(store: Path, make: Any) -> None:
    store.parent.write_text("")
    assert history.entries() == ()
    with pytest.raises(HistoryError, match="cannot be used"):
        history.add(make())


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read and write everything")
def test_a_file_that_may_only_be_read(store: Path, make: Any) -> None:
    history.add(make())
    store.chmod(0o400)
    assert len(history.entries()) == 1
    with pytest.raises(HistoryError, match="may be read but not written"):
        history.add(make())
    store.chmod(0)
    with pytest.raises(HistoryError, match="cannot be used"):
        history.entries()


def changed(*statements: str, values: Sequence[str] = ()) -> None:
    """Statements of a test in the transaction of a writer, the last one with `values`."""
    with writing() as connection:
        for statement in statements[:-1]:
            connection.execute(statement)
        connection.execute(statements[-1], values)


def test_what_sqlite_says_of_a_read_only_file(store: Path, make: Any) -> None:
    """As the system refuses root nothing, by SQLite's own switch."""
    history.add(make())
    with pytest.raises(HistoryError, match="may be read but not written"):
        changed("PRAGMA query_only = 1", "DELETE FROM verifications")
    assert len(history.entries()) == 1


def test_a_full_database(store: Path, make: Any) -> None:
    history.add(make())
    said = "could not be written .database or disk is full.*unchanged; free some space"
    with pytest.raises(HistoryError, match=said):
        changed(
            "PRAGMA max_page_count = 1",
            "DELETE FROM verifications",
            "INSERT INTO verifications (recorded_at, card, torch, target, precision, batch_size, "
            "document) VALUES ('', '', '', '', '', 1, ?)",
            values=["x" * (1 << 20)],
        )
    assert history.ids_kept() == (1,)
    assert history.add(make()) == 2


def test_a_full_disk(store: Path, make: Any) -> None:
    """The file may not grow: what was there is there, and the next verification lands."""
    for _ in range(3):
        history.add(make())
    code = (
        "import resource\n"
        "from planner.errors import HistoryError\n"
        "from planner.verification import history\n"
        "size = history.history_file().stat().st_size\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))\n"
        "try:\n"
        "    for number in range(1000):\n"
        "        history.add(verification(target='x' * 5000))\n"
        "except HistoryError as error:\n"
        "    print(number, error)\n"
    )
    out, errors = python(code, store).communicate(timeout=60)
    assert errors == ""
    landed, _, said = out.partition(" ")
    assert "could not be written" in said
    assert history.ids_kept() == tuple(range(1, 4 + int(landed)))
    history.add(make())
    assert len(history.ids_kept()) == 4 + int(landed)


def test_two_processes_at_once(store: Path) -> None:
    """Also the first entries, with which both want to make the table."""
    code = (
        "from planner.verification import history\n"
        "for _ in range(20):\n"
        "    history.add(verification())\n"
    )
    both = [python(code, store) for _ in range(2)]
    for process in both:
        assert process.communicate(timeout=60) == ("", "")
        assert process.returncode == 0
    assert history.ids_kept() == tuple(range(1, 41))


def test_a_store_in_use_for_too_long(
    store: Path, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    history.add(make())
    monkeypatch.setattr(store_module, "_BUSY_S", 0.05)
    with writing(), pytest.raises(HistoryError, match="in use by another process"):
        history.add(make())
    assert history.add(make()) == 2


def test_a_process_killed_while_it_writes(store: Path, make: Any) -> None:
    """Its pages are in the file already, its transaction is not at its end."""
    history.add(make())
    code = (
        "import time\n"
        "from planner.verification.store import writing\n"
        "with writing() as connection:\n"
        "    connection.execute('PRAGMA cache_spill = 1')\n"
        "    connection.execute('PRAGMA cache_size = 1')\n"
        "    connection.execute('DELETE FROM verifications')\n"
        "    for _ in range(200):\n"
        "        connection.execute(\n"
        "            'INSERT INTO verifications (recorded_at, card, torch, target, precision, '\n"
        "            'batch_size, document) VALUES (1, 1, 1, 1, 1, 1, ?)', ['x' * 4096])\n"
        "    print('written', flush=True)\n"
        "    time.sleep(60)\n"
    )
    process = python(code, store)
    assert process.stdout is not None
    assert process.stdout.readline() == "written\n"
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    assert store.with_name("history.sqlite-journal").exists()
    assert store.stat().st_size > 200 * 4096
    assert [one.target for one in history.entries()] == ["net.py"]
    assert history.add(make()) == 2


def test_sqlite_is_not_loaded_where_there_is_no_history(store: Path) -> None:
    code = (
        "import sys\n"
        "from planner.verification import history\n"
        "import planner.questions.estimate\n"
        "history.entries()\n"
        "print('sqlite3' in sys.modules)\n"
    )
    assert python(code, store).communicate(timeout=60) == ("False\n", "")
