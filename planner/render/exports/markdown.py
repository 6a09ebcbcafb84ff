"""A BudgetReport as Markdown, for the comment of a pull request or the summary of a job.

In: BudgetReport. Out: text (GitHub flavoured). Convention: names from the code are shown as text:
no character of them is read as Markdown or HTML.
"""

from __future__ import annotations

from collections.abc import Sequence

from planner.render.check_words import exceeded, failed, since, since_the_lock, title, warnings
from planner.render.outside_text import shown
from planner.results.budget import BudgetReport, CheckResult, CheckVerdict
from planner.units import format_bytes, format_duration

_MARKS = {
    CheckVerdict.WITHIN: "within",
    CheckVerdict.EXCEEDED: "**exceeded**",
    CheckVerdict.FAILED: "**failed**",
}
_HEAD = ("check", "card", "verdict", "peak", "upper end", "of", "largest batch", "step", "lock")
_READ_BY_MARKDOWN = frozenset("\\`*_[]<>#|~&@")
_NOTHING = "-"


def export(report: BudgetReport) -> str:
    """Returns the text."""
    rows = [row for check in report.checks for row in _rows(check)]
    parts = [
        f"### planner check: {escaped(title(report))}",
        "\n".join([_row(_HEAD), _row(["---"] * len(_HEAD)), *map(_row, rows)]),
        _list("Failed", failed(report)),
        _list("Exceeded", exceeded(report)),
        _folded("Since the lock file", since_the_lock(report)),
        _list("Warnings", warnings(report)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def escaped(text: str) -> str:
    """Returns the text so that Markdown shows it as it is, on one line."""
    line = " ".join(shown(text.replace("\n", " ")).split())
    return "".join(f"&#{ord(one)};" if one in _READ_BY_MARKDOWN else one for one in line)


def _rows(check: CheckResult) -> list[tuple[str, ...]]:
    name = escaped(check.name)
    if not check.cards:
        return [(name, _NOTHING, _MARKS[check.verdict], *([_NOTHING] * 6))]
    found: list[tuple[str, ...]] = []
    for card in check.cards:
        figures, upper = card.figures, card.figures.device_total_upper_bytes
        found.append(
            (
                name,
                escaped(card.gpu),
                _MARKS[card.verdict],
                format_bytes(figures.device_total_bytes),
                _NOTHING if upper is None else format_bytes(upper),
                format_bytes(figures.usable_memory_bytes),
                _NOTHING if figures.largest_batch is None else str(figures.largest_batch),
                _NOTHING if figures.step_s is None else format_duration(figures.step_s),
                since(card),
            )
        )
    return found


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _list(heading: str, lines: Sequence[str]) -> str:
    if not lines:
        return ""
    return "\n".join([f"**{heading}**", "", *(f"- {escaped(line)}" for line in lines)])


def _folded(heading: str, lines: Sequence[str]) -> str:
    if not lines:
        return ""
    listed = "\n".join(f"- {escaped(line)}" for line in lines)
    return f"<details><summary>{heading}</summary>\n\n{listed}\n\n</details>"
