"""Writes the record as a Markdown page: figures by source and family of models, and all misses.

In: Judged of all sources, the date. Out: text. Convention: errors in per cent with their sign,
predicted against measured; the order is that of the sources and of their files.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from benchmarks.accuracy.judging import judge, offsets_of, without_workspaces
from benchmarks.accuracy.records import (
    BRACKET_TOLERANCE_FRACTION,
    Judged,
    Judging,
    Source,
    Verdict,
)
from benchmarks.accuracy.sources import SOURCES
from benchmarks.accuracy.statistics import (
    BracketStatistics,
    bracket_statistics,
    by,
    errors_of,
)
from benchmarks.record.rows import read_cases
from benchmarks.record.statistics import ErrorStatistics, error_statistics
from benchmarks.record.tables import table
from planner.units import GIB, MIB

FINDINGS = Path(__file__).with_name("findings")
_LONGEST_LIST = 40  # misses of one source on the page; the CSV file has them all
_ERROR_COLUMNS = ("cases", "median", "p95", "worst", "under-estimates")
_BRACKET_COLUMNS = ("batches that ran", "right", "batches that failed", "right", "all right")


def page(judged: Sequence[Judged], date: str) -> str:
    """Writes the whole page."""
    sections = [line for source in SOURCES.values() for line in _section(source, judged)]
    return "\n".join((*_opening(judged, date), *_summary(judged), *sections))


def _opening(judged: Sequence[Judged], date: str) -> Iterator[str]:
    yield "# Accuracy against published measurements"
    yield ""
    yield (
        "Written by `python -m benchmarks.accuracy`; do not edit. Every figure was measured by "
        "others on a real GPU and published; [benchmarks/measurements]"
        "(../benchmarks/measurements/README.md) says where and how. Every case is a row in "
        "[results.csv](../benchmarks/accuracy/results.csv), also those that could not be run."
    )
    yield ""
    yield f"Date: {date}. Versions:"
    yield ""
    versions = by(lambda one: one.result.versions, judged)
    for name, group in versions.items():
        sources = ", ".join(dict.fromkeys(one.result.case.source for one in group))
        yield f"- {sources}: {name}"
    yield ""


def _summary(judged: Sequence[Judged]) -> Iterator[str]:
    yield "## Summary"
    yield ""
    yield "Error: (predicted - measured) / measured; median and p95 without sign."
    yield ""
    yield from _table(("figures", *_ERROR_COLUMNS), _summary_errors(judged))
    brackets = [
        (source.name, *_bracket_cells(found))
        for source in SOURCES.values()
        if source.judging is Judging.BRACKET and (found := bracket_statistics(_of(source, judged)))
    ]
    yield from _table(("brackets", *_BRACKET_COLUMNS), brackets)


def _summary_errors(judged: Sequence[Judged]) -> Iterator[tuple[str, ...]]:
    for source in SOURCES.values():
        mine = _of(source, judged)
        if source.judging is Judging.ABSOLUTE:
            quantities = by(lambda one: one.result.case.quantity.value, mine)
            for name, group in quantities.items():
                yield from _error_row(f"{source.name}, {name}", group)
        if source.judging is Judging.OFFSET:
            yield from _error_row(source.name, mine)


def _section(source: Source, judged: Sequence[Judged]) -> Iterator[str]:
    mine = _of(source, judged)
    if not mine:
        return
    yield f"## {source.name}"
    yield ""
    yield f"{source.title}. {_how_judged(source)}"
    yield ""
    yield f"{_counts(source, mine)}."
    yield ""
    if source.judging is Judging.OFFSET:
        yield from _constants(source, mine)
    findings = FINDINGS / f"{source.name}.md"
    if findings.is_file():
        yield findings.read_text(encoding="utf-8").rstrip()
        yield ""
    yield from _families(source, mine)
    yield from _misses(mine)
    yield from _not_run(mine)


def _how_judged(source: Source) -> str:
    if source.judging is Judging.ABSOLUTE:
        listed = ", ".join(
            f"{name.value} {_percent(bounds.row, '.1')}" for name, bounds in source.bounds.items()
        )
        return f"Judged figure by figure; bounds of a row: {listed}."
    if source.judging is Judging.OFFSET:
        (bounds,) = source.bounds.values()
        return (
            f"{source.constant_is} One constant per card, the median difference over about half of "
            f"the {source.halved_by.value}, stands for them; the others are judged. Bound of a "
            f"row: {_percent(bounds.row, '.0')}."
        )
    return (
        "A batch that ran has to fit. One that failed has to fail, on the card or on one "
        f"{_percent(BRACKET_TOLERANCE_FRACTION, '.0')} smaller."
    )


def _constants(source: Source, mine: Sequence[Judged]) -> Iterator[str]:
    found = offsets_of(source, mine)
    listed = ", ".join(f"{card} {size / MIB:.0f} MiB" for card, size in sorted(found.items()))
    yield f"Constants: {listed}."
    yield ""
    results = [one.result for one in mine]
    others = without_workspaces(results)
    if all(one in results for one in others):
        return  # no plan of cuDNN has asked for a workspace
    other = judge(source, others, _left_out(mine))
    rows = [*_error_row("as predicted", mine), *_error_row("without workspaces", other)]
    yield from _table(("all judged cases", *_ERROR_COLUMNS), rows)
    yield (
        "The second line is what the same runs would have reserved had no plan of cuDNN asked for "
        "a workspace, with a constant of its own: it shows how much of the error is theirs."
    )
    yield ""


def _families(source: Source, mine: Sequence[Judged]) -> Iterator[str]:
    groups = by(lambda one: one.result.case.family, mine)
    if source.judging is Judging.BRACKET:
        brackets = [
            (name, *_bracket_cells(found))
            for name, group in groups.items()
            if (found := bracket_statistics(group))
        ]
        yield from _table(("family", *_BRACKET_COLUMNS), brackets)
        return
    rows = [row for name, group in groups.items() for row in _error_row(name, group)]
    yield from _table(("family", *_ERROR_COLUMNS), rows)


def _misses(mine: Sequence[Judged]) -> Iterator[str]:
    missed = [one for one in mine if one.verdict in (Verdict.WRONG, Verdict.BEYOND)]
    if not missed:
        return
    missed.sort(key=lambda one: -abs(one.error or 0))
    shown = missed[:_LONGEST_LIST]
    yield f"Misses ({len(missed)}{', the largest' if len(shown) < len(missed) else ''}):"
    yield ""
    yield from _table(
        ("model", "batch", "card", "measured", "predicted", "error"), map(_miss, shown)
    )


def _miss(one: Judged) -> tuple[str, ...]:
    case, prediction = one.result.case, one.result.prediction
    front = (case.step.model, str(case.step.batch_size), case.step.card)
    if case.measured_bytes is None:
        allocated = prediction.peak_allocated_bytes or 0
        said = "fits" if prediction.fits else "out of memory"
        return (
            *front, case.quantity.value, f"{said}, peak allocated {allocated / GIB:.2f} GiB", "",
        )  # fmt: skip
    return (
        *front,
        f"{case.measured_bytes / GIB:.2f} GiB",
        f"{(one.predicted_bytes or 0) / GIB:.2f} GiB",
        _percent(one.error or 0, "+.2"),
    )


def _not_run(mine: Sequence[Judged]) -> Iterator[str]:
    groups = by(
        lambda one: f"{one.result.case.step.model}: {one.note}",
        [one for one in mine if one.verdict is Verdict.NOT_RUN],
    )
    if not groups:
        return
    yield "Not run:"
    yield ""
    for text, group in groups.items():
        yield f"- {len(group)} of {text.replace('|', '/')}"
    yield ""


def _counts(source: Source, mine: Sequence[Judged]) -> str:
    groups = by(lambda one: one.verdict.value, mine)
    listed = ", ".join(f"{len(group)} {name}" for name, group in groups.items())
    return f"{len(mine)} of {len(read_cases(source))} published cases: {listed}"


def _of(source: Source, judged: Iterable[Judged]) -> list[Judged]:
    return [one for one in judged if one.result.case.source == source.name]


def _left_out(mine: Iterable[Judged]) -> frozenset[str]:
    return frozenset(one.result.case.name for one in mine if one.verdict is Verdict.LEFT_OUT)


def _error_row(name: str, group: Iterable[Judged]) -> Iterator[tuple[str, ...]]:
    found = error_statistics(errors_of(group))
    if found is not None:
        yield (name, *_error_cells(found))


def _error_cells(found: ErrorStatistics) -> tuple[str, ...]:
    return (
        str(found.number),
        _percent(found.median, ".3"),
        _percent(found.p95, ".2"),
        _percent(found.worst, "+.2"),
        _percent(found.under_fraction, ".0"),
    )


def _bracket_cells(found: BracketStatistics) -> tuple[str, ...]:
    return (
        str(found.ran),
        str(found.ran_right),
        str(found.failed),
        str(found.failed_right),
        _percent(found.right_fraction, ".1"),
    )


def _percent(fraction: float, form: str) -> str:
    """`form` is the sign and the digits of a format specification."""
    return f"{fraction:{form}%}".replace("%", " %")


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    lines = list(table(heads, rows))
    yield from (*lines, "") if lines else ()
