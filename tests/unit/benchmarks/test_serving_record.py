"""The record of published starts: its targets, and that every row is accounted for."""

from __future__ import annotations

from pathlib import Path

from benchmarks.record.statistics import error_statistics
from benchmarks.serving.cases import rows
from benchmarks.serving.judging import judged, starts
from planner.memory.serving.vllm_terms import fitted_terms

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "serving-record.md").read_text(encoding="utf-8")


def test_every_row_has_a_case_or_a_reason_and_is_on_the_page() -> None:
    found = rows()
    assert len(found) == 65
    for row in found:
        assert (row.case is None) == bool(row.why_none), row.case_id
        assert f"| {row.case_id} |" in PAGE
    assert len([row for row in found if row.case is not None]) >= 30


def test_the_shipped_constants_are_near_what_was_printed() -> None:
    terms = fitted_terms()
    found = [judged(start, terms, terms) for start in starts(rows())]
    cache = error_statistics([one.cache_error for one in found if one.cache_error is not None])
    tokens = error_statistics([one.tokens_error for one in found if one.tokens_error is not None])
    assert cache is not None
    assert tokens is not None
    assert cache.median < 0.02
    assert cache.p90 < 0.04
    assert tokens.p90 < 0.01
    assert abs(tokens.worst) < 0.03


def test_the_terms_say_how_many_starts_are_inside() -> None:
    terms = fitted_terms()
    assert len(terms.ratios) == terms.starts
    assert 0.85 <= terms.inside / terms.starts <= 0.95
    assert f"{terms.inside} of {terms.starts}" in PAGE
