"""A BudgetReport as a table for people, with the limits that do not hold and what grew.

In: BudgetReport. Out: a renderable. Convention: plain ASCII; nothing in it depends on the time or
the machine, so that equal figures give equal output.
"""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from planner.render.check_words import (
    exceeded,
    failed,
    held,
    since,
    since_the_lock,
    summary,
    warnings,
)
from planner.render.terminal.layout import FittedTable, titled_lists, verdict_lines
from planner.results.budget import BudgetReport, CardCheck, CheckResult, CheckVerdict
from planner.units import format_bytes, format_duration

_STYLES = {
    CheckVerdict.WITHIN: "bold green",
    CheckVerdict.EXCEEDED: "bold red",
    CheckVerdict.FAILED: "bold yellow",
}
_COLUMNS = (
    "check", "card", "verdict", "peak", "upper end", "of", "largest batch", "step",
    "since the lock",
)  # fmt: skip
_CHECK = 0
_LEFT = (_CHECK, 1, 2)
_LEFT_OUT_FIRST = (7, 4, 6, 5, 8)
_NOTHING = "-"


def render(report: BudgetReport, *, verbose: bool = False) -> RenderableType:
    """Returns the report: verdict, table, limits that do not hold, growth, warnings."""
    parts: list[RenderableType] = [
        verdict_lines([("checks", Text(summary(report), style=_STYLES[report.verdict]))])
    ]
    lines = [line for check in report.checks for line in _lines(check)]
    table = FittedTable(
        columns=_COLUMNS, lines=lines, left=_LEFT, left_out_first=_LEFT_OUT_FIRST, folded=_CHECK
    )
    sections = (
        ("failed", failed(report)),
        ("exceeded", exceeded(report)),
        ("since the lock", since_the_lock(report, verbose=verbose)),
        ("limits", held(report) if verbose else ()),
        ("warnings", warnings(report)),
    )
    return Group(*parts, Text(), table, *titled_lists(sections))


def _lines(check: CheckResult) -> list[tuple[Text, ...]]:
    if not check.cards:
        return [(*_head(check, _NOTHING, check.verdict), *([Text(_NOTHING)] * 6))]
    return [(*_head(check, card.gpu, card.verdict), *_figures(card)) for card in check.cards]


def _head(check: CheckResult, gpu: str, verdict: CheckVerdict) -> tuple[Text, ...]:
    return Text(check.name), Text(gpu), Text(verdict.value, style=_STYLES[verdict])


def _figures(card: CardCheck) -> tuple[Text, ...]:
    found, upper = card.figures, card.figures.device_total_upper_bytes
    cells = (
        format_bytes(found.device_total_bytes),
        _NOTHING if upper is None else format_bytes(upper),
        format_bytes(found.usable_memory_bytes),
        _NOTHING if found.largest_batch is None else str(found.largest_batch),
        _NOTHING if found.step_s is None else format_duration(found.step_s),
        since(card),
    )
    return tuple(map(Text, cells))
