"""planner.report and planner.export write what their commands write, and refuse what cannot be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import planner
from planner.errors import DocumentError, OutputError, UsageError
from planner.render.exports.result_file import result_file
from planner.render.exports.result_formats import ResultFormat
from planner.render.html.page import page_of
from planner.results.estimate import Estimate
from planner.wire.trace import AllocationEvent, AllocationTrace, EventKind, Origin, Phase

KIB = 1024


@pytest.fixture
def kept(estimate: Estimate) -> Estimate:
    """An estimate with the recording of one block of 1 KiB."""
    event = AllocationEvent(
        kind=EventKind.ALLOC, block=1, size_bytes=KIB, block_bytes=KIB, step=1, phase=Phase.FORWARD
    )
    entry = replace(estimate.gpus[0], peak_allocated_bytes=KIB)
    recorded = AllocationTrace(events=(event,), origins=(Origin(),))
    return replace(estimate, gpus=(entry,), allocations=(recorded,))


def test_a_report_of_a_result_is_its_page(kept: Estimate, tmp_path: Path) -> None:
    written = planner.report(kept, to=tmp_path / "page.html", redact=True)
    assert written == tmp_path / "page.html"
    assert written.read_text(encoding="utf-8") == page_of(kept, is_redacted=True)


def test_a_report_of_a_file_is_that_of_its_result(kept: Estimate, tmp_path: Path) -> None:
    saved = tmp_path / "kept.planner"
    kept.save(saved)
    one, other = tmp_path / "one.html", tmp_path / "other.html"
    planner.report(saved, against=str(saved), to=str(one))
    planner.report(kept, against=kept, to=other)
    assert one.read_bytes() == other.read_bytes()


@pytest.mark.parametrize("options", [{"gpu": "t4"}, {"batch_size": 4}])
def test_a_result_is_not_run_again(
    kept: Estimate, tmp_path: Path, options: dict[str, object]
) -> None:
    with pytest.raises(UsageError, match="which is not run again"):
        planner.report(kept, to=tmp_path / "page.html", **options)  # type: ignore[arg-type]  # as given
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_not_there_is_no_target(tmp_path: Path) -> None:
    with pytest.raises(DocumentError):
        planner.report(tmp_path / "none.planner", to=tmp_path / "page.html")


def test_a_place_that_cannot_be_written_is_seen_before_anything_is_run(tmp_path: Path) -> None:
    with pytest.raises((OutputError, UsageError)):
        planner.report("no_such_model.py", to=tmp_path / "none" / "page.html")


@pytest.mark.parametrize("form", [ResultFormat.CSV, ResultFormat.SPEEDSCOPE])
def test_an_export_is_the_file_of_its_format(
    kept: Estimate, tmp_path: Path, form: ResultFormat
) -> None:
    kept.save(tmp_path / "kept.planner")
    for source in (kept, tmp_path / "kept.planner"):
        written = planner.export(source, to=tmp_path / "out", format=form.value)
        assert written.read_bytes() == result_file(kept, form)


def test_an_unknown_format_is_refused_with_the_known_ones(kept: Estimate, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'svg' is none of memory-snapshot, chrome-trace, csv"):
        planner.export(kept, to=tmp_path / "out", format="svg")


def test_an_export_needs_recordings(estimate: Estimate, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        planner.export(estimate, to=tmp_path / "out", format="csv")
    assert not list(tmp_path.iterdir())
