"""The CSV file keeps what was predicted, and the page says it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.accuracy import __main__ as command
from benchmarks.accuracy import results
from benchmarks.accuracy.judging import judge
from benchmarks.accuracy.page import page
from benchmarks.accuracy.records import Judged, Quantity
from benchmarks.accuracy.running import groups
from benchmarks.accuracy.sources import SOURCES
from tests.unit.benchmarks.accuracy_cases import VERSIONS, bracket, figure


def judged_cases() -> list[Judged]:
    return [
        *judge(
            SOURCES["h100-peaks"],
            [
                figure("t5", 2**30, 2**30, quantity=Quantity.PEAK_ALLOCATED, source="h100-peaks"),
                figure("gpt2", 10**9, 2 * 10**9, quantity=Quantity.PEAK_RESERVED,
                       source="h100-peaks"),
            ],
            frozenset(),
        ),
        *judge(
            SOURCES["timm-train"],
            [bracket(ran=True, fits=True), bracket(ran=False, fits=True, fits_smaller=True)],
            frozenset(),
        ),
        *judge(
            SOURCES["gpumemnet"],
            [
                figure("a", 120, 100, without_workspaces=90),
                figure("b", 120, 100, without_workspaces=90),
                figure("c", 1, None, trouble="no | such model"),
            ],
            frozenset(),
        ),
    ]  # fmt: skip


def test_predictions_survive_the_file(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    known = [one.result for one in judged_cases()]
    for result in known:
        results.append(path, result)
    expected = {(one.case.source, one.case.name): (one.prediction, VERSIONS) for one in known}
    assert results.read_predictions(path) == expected
    results.write(path, judged_cases())
    assert results.read_predictions(path) == expected


def test_no_file_is_nothing_known(tmp_path: Path) -> None:
    assert results.read_predictions(tmp_path / "none.csv") == {}


def test_rows_say_what_was_measured_and_predicted(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    results.write(path, judged_cases())
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0] == ",".join(results.FIELDS)
    assert "peak allocated,1073741824,1073741824,+0.0000000,within," in lines[1]
    assert "out of memory,out of memory,fits,,wrong," in lines[4]


def test_the_page_names_every_miss() -> None:
    text = page(judged_cases(), "2000-01-01")
    assert "Date: 2000-01-01" in text
    assert "| h100-peaks, peak allocated | 1 | 0.000 % | 0.00 % | +0.00 % | 0 % |" in text
    assert "| timm-train | 1 | 1 | 1 | 0 | 50.0 % |" in text
    assert "| gpt2 | 8 | h100 | 0.93 GiB | 1.86 GiB | +100.00 % |" in text
    assert "- 1 of c: no / such model" in text
    assert text == page(judged_cases(), "2000-01-01")


def test_cases_of_one_model_share_a_worker() -> None:
    cases = [bracket(ran=ran, fits=True).case for ran in (True, False)]
    other = figure("a", 1, 1).case
    assert groups([cases[0], other, cases[1]]) == [cases, [other]]


@pytest.mark.parametrize(("shift_bytes", "code"), [(0, 0), (100_000_000, 1)])
def test_h100_peaks_beyond_a_bound_fail(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], shift_bytes: int, code: int
) -> None:
    """Judged from the rows of the record, one of them moved."""
    path = tmp_path / "results.csv"
    of_peaks = command.judge_all(command.CSV_FILE)[:38]
    first = of_peaks[0].result
    assert first.prediction.peak_allocated_bytes is not None
    moved = first.prediction.peak_allocated_bytes + shift_bytes
    prediction = replace(first.prediction, peak_allocated_bytes=moved)
    of_peaks[0] = replace(of_peaks[0], result=replace(first, prediction=prediction))
    results.write(path, of_peaks)
    options = ["--source", "h100-peaks", "--judge-only", "--csv", str(path)]
    assert command.main(options) == code
    said = capsys.readouterr()
    assert said.out.splitlines()[-1].split() == ["median,", "without", "sign", "0.0005%", "0.193%"]
    assert ("t5-large-6x512-autocast-fp16: peak allocated is off by" in said.err) is bool(code)
    assert list(tmp_path.iterdir()) == [path]  # a table of one's own has no page


def test_a_case_that_nobody_published_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--case", "no-such-run"]) == 2
    assert "no published case has this name" in capsys.readouterr().err
