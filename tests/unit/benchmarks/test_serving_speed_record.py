"""The record of published speeds: its targets, and that every row is on its page."""

from __future__ import annotations

from pathlib import Path
from statistics import median

import pytest

from benchmarks.serving.speed_cases import LoadKind, SpeedRow, speed_rows
from benchmarks.serving.speed_judging import Figure, SpeedJudged, speed_judged
from planner.config.serving import EngineName
from planner.timing.serving.host_terms import speed_terms

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "serving-speed-record.md").read_text(encoding="utf-8")


def judged(rows: list[SpeedRow]) -> list[SpeedJudged]:
    return [
        one
        for row in rows
        for one in speed_judged(row, speed_terms()[row.config.engine.value].host)
    ]


@pytest.fixture(scope="module")
def found() -> list[SpeedJudged]:
    return judged(speed_rows())


def test_every_row_has_a_source_and_is_on_the_page() -> None:
    rows = speed_rows()
    assert len(rows) == 173
    for row in rows:
        assert row.url.startswith("https://"), row
        assert f"[{row.source}]({row.url})" in PAGE


@pytest.mark.parametrize(
    ("engine", "most", "least_number"),
    [(EngineName.TRTLLM, 0.10, 100), (EngineName.VLLM, 0.25, 30), (EngineName.SGLANG, 0.15, 5)],
)
def test_loads_are_near_what_was_published(
    found: list[SpeedJudged], engine: EngineName, most: float, least_number: int
) -> None:
    errors = [
        abs(one.ratio - 1)
        for one in found
        if one.row.config.engine is engine
        and one.row.kind is not LoadKind.BATCH
        and one.figure in (Figure.TOKENS, Figure.TPOT)
    ]
    assert len(errors) >= least_number
    assert median(errors) < most


def test_first_tokens_of_a_load_are_between_one_by_one_and_all_at_once(
    found: list[SpeedJudged],
) -> None:
    loads = [one for one in found if one.figure is Figure.FIRST_OF_LOAD]
    assert len(loads) >= 8
    for one in loads:
        assert one.at_once_s is not None
        assert 0.7 * one.predicted <= one.published <= 1.7 * one.at_once_s, one.row.source
