"""Judges published starts and speeds of engines and writes their pages; see the package."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.serving.cases import rows
from benchmarks.serving.fitting import fitted
from benchmarks.serving.judging import Judged, Start, judged, starts
from benchmarks.serving.page import page
from benchmarks.serving.speed_cases import speed_rows
from benchmarks.serving.speed_fitting import fitted_speed
from benchmarks.serving.speed_judging import SpeedJudged
from benchmarks.serving.speed_page import speed_page
from planner.memory.serving.vllm_terms import FILE, FittedTerms, fitted_terms
from planner.timing.serving.host_terms import FILE as SPEED_TERMS

PAGE = Path(__file__).parents[2] / "docs" / "serving-record.md"
SPEED_PAGE = PAGE.with_name("serving-speed-record.md")


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints a line for each start, and writes the page."""
    parser = argparse.ArgumentParser(prog="benchmarks.serving", description=__doc__)
    parser.add_argument("--fit", action="store_true", help="write the constants of the terms anew")
    all_rows = rows()
    known = starts(all_rows)
    is_fit = parser.parse_args(arguments).fit
    found = judge_all(known, fitted(known) if is_fit else fitted_terms())
    if is_fit:
        _write(fitted(known), sum(one.is_inside is True for one in found))
        fitted_terms.cache_clear()
    for one in found:
        print(_line(one))
    PAGE.write_text(page(all_rows, found, fitted_terms()), encoding="utf-8")
    document, judged_speeds = fitted_speed(speed_rows())
    if is_fit:
        SPEED_TERMS.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    for speed in judged_speeds:
        print(_speed_line(speed))
    SPEED_PAGE.write_text(speed_page(judged_speeds, document), encoding="utf-8")


def judge_all(known: Sequence[Start], terms: FittedTerms) -> list[Judged]:
    """Judges each start with constants and interval from the starts of other sources."""
    held_out = {
        source: fitted([start for start in known if start.row.source != source])
        for source in {start.row.source for start in known}
    }
    return [judged(start, terms, held_out[start.row.source]) for start in known]


def _write(terms: FittedTerms, inside: int) -> None:
    document = {
        "constants": {name: round(value, 3) for name, value in asdict(terms.constants).items()},
        "ratios": list(terms.ratios),
        "starts": terms.starts,
        "sources": terms.sources,
        "inside": inside,
    }
    FILE.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def _line(one: Judged) -> str:
    def percent(value: float | None) -> str:
        return "       -" if value is None else f"{value:+8.2%}"

    row = one.start.row
    inside = {None: "-", True: "inside", False: "outside"}[one.is_inside]
    return (
        f"{row.case_id[:32]:32} {one.start.case.model[-24:]:24} cache {percent(one.cache_error)} "
        f"tokens {percent(one.tokens_error)} weights {percent(one.weights_error)} {inside}"
    )


def _speed_line(one: SpeedJudged) -> str:
    row = one.row
    return (
        f"{row.source[:24]:24} {row.model[-20:]:20} {row.config.tensor_parallel} x {row.card:12} "
        f"{row.name:20} {one.figure.value:16} published over predicted seconds {one.ratio:.2f}"
    )


if __name__ == "__main__":
    main()
