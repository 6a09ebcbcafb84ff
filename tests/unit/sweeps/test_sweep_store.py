"""The folder of a sweep: whole rows, one writer, a full disk, and files that are none of ours."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from planner.errors import DocumentError, OutputError
from planner.sweeps.store import FILE, SweepStore, reading, writing
from tests.unit.sweep_rows import case, made_row


def test_rows_come_back_in_the_order_of_the_cases(tmp_path: Path) -> None:
    cases = [case(gpu=gpu) for gpu in ("t4", "a100", "l4")]
    rows = [made_row(gpu="l4"), made_row(None, gpu="t4"), made_row(40, gpu="a100", warnings=("w",))]
    with writing(tmp_path / "new" / "folder") as store:
        store.add_cases(cases)
        for row in rows:
            store.keep([row])
        assert store.rows() == (rows[1], rows[2], rows[0])
    with reading(tmp_path / "new" / "folder") as store:
        assert store.rows() == (rows[1], rows[2], rows[0])
        assert store.count() == 3


def test_a_row_is_there_once(tmp_path: Path) -> None:
    with writing(tmp_path) as store:
        store.add_cases([case(), case()])
        store.keep([made_row(None)])
        store.keep([made_row(2.0)])
    with writing(tmp_path) as store:
        store.add_cases([case(gpu="a100"), case()])
        assert store.rows() == (made_row(2.0),)
        assert store.count() == 2


def test_rows_of_a_job_are_kept_together(tmp_path: Path) -> None:
    with writing(tmp_path) as store:
        store.add_cases([case(), case(gpu="a100")])
        broken = made_row(gpu="a100")
        object.__setattr__(broken, "target", object())  # no value of SQLite
        with pytest.raises(OutputError, match="cannot be written"):
            store.keep([made_row(), broken])
        assert store.rows() == ()


def test_a_second_writer_is_refused_and_a_reader_is_not(tmp_path: Path) -> None:
    with writing(tmp_path) as store:
        store.add_cases([case()])
        store.keep([made_row()])
        with (
            pytest.raises(OutputError, match=r"another sweep is writing .*: wait for its end"),
            writing(tmp_path),
        ):
            pass
        with reading(tmp_path) as other:
            assert other.rows() == (made_row(),)
    with writing(tmp_path) as store:
        assert len(store.rows()) == 1


def _kept_until_full(store: SweepStore) -> int:
    """Keeps rows, one after the other, and returns how many the store took."""
    says = ""
    for number in range(1, 500):
        try:
            store.keep([made_row(batch_size=number)])
        except OutputError as error:
            says = str(error)
            break
    assert "is full; the rows that were kept before are still there: make room" in says
    return number - 1


def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    with writing(tmp_path) as store:
        store.add_cases([case(batch_size=number) for number in range(1, 500)])
        (pages,) = store.connection.execute("PRAGMA page_count").fetchone()
        store.connection.execute(f"PRAGMA max_page_count = {pages + 4}")
        kept = _kept_until_full(store)
        assert 1 < kept < 400
    with writing(tmp_path) as store:
        assert [row.batch_size for row in store.rows()] == list(range(1, kept + 1))
        store.keep([made_row(batch_size=kept + 1)])
        assert len(store.rows()) == kept + 1


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file cannot be written"), writing(tmp_path / "file"):
        pass


def test_files_that_are_no_sweep(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match="there is no sweep in"), reading(tmp_path):
        pass
    (tmp_path / FILE).write_bytes(b"no database" * 100)
    with pytest.raises(DocumentError, match="cannot be read as a sweep"), reading(tmp_path):
        pass
    with pytest.raises(OutputError, match="cannot be written"), writing(tmp_path):
        pass
    (tmp_path / FILE).unlink()
    connection = sqlite3.connect(tmp_path / FILE)
    connection.execute("CREATE TABLE other (x)")
    connection.close()
    for opened in (reading, writing):
        with pytest.raises(DocumentError, match="is not the file of a sweep"), opened(tmp_path):
            pass


def test_a_later_version(tmp_path: Path) -> None:
    with writing(tmp_path) as store:
        store.connection.execute("PRAGMA user_version = 2")
    with pytest.raises(DocumentError, match="update planner"), reading(tmp_path):
        pass
