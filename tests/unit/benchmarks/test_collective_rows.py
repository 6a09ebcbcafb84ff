"""The published bus bandwidths: all are predicted, and the judged ones stay within their bounds."""

from __future__ import annotations

from statistics import median

import pytest

from benchmarks.collectives import CSV_FILE, Judged, judged, main, rows
from planner.hardware.database import load_links


@pytest.fixture(scope="module")
def done() -> list[Judged]:
    links = load_links()
    return [judged(row, links) for row in rows()]


def test_every_row_is_predicted(done: list[Judged]) -> None:
    assert len(done) == sum(1 for _ in CSV_FILE.open(encoding="utf-8")) - 1
    assert all(one.predicted.time_s > 0 for one in done)


def test_measured_points_are_met(done: list[Judged]) -> None:
    fitted = [one for one in done if one.row.fitted and one.row.source.startswith("aiconf")]
    assert len(fitted) == 4 * 4 * 3 * 11
    assert max(abs(one.error) for one in fitted) < 1e-3


@pytest.mark.parametrize("machine", ["h200_sxm NCCL 2.29.2", "b300_sxm NCCL 2.29.2"])
def test_machines_that_no_record_has_seen(done: list[Judged], machine: str) -> None:
    errors = [abs(one.error) for one in done if one.row.machine == machine]
    assert len(errors) == 240
    assert median(errors) < 0.05


def test_large_messages_between_hosts(done: list[Judged]) -> None:
    named = {"4 x p6-b200", "4 x p5en", "H100 hosts, 8 NDR", "4 hosts x 8, 100 GB/s"}
    errors = [
        one.error
        for one in done
        if one.row.machine in named and one.row.hosts > 1 and one.row.size_bytes >= 1 << 30
    ]
    assert len(errors) >= 12
    assert max(map(abs, errors)) < 0.06


def test_the_table_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    main([])
    table = capsys.readouterr().out
    assert "judged, several hosts: " in table
    main(["--rows"])
    assert len(capsys.readouterr().out.splitlines()) > len(table.splitlines())
