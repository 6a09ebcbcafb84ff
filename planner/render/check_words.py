"""Says in sentences how the checks of a BudgetReport ended, and what differs from the lock file.

In: BudgetReport. Out: lines of text. Convention: nothing in them depends on the time or the
machine.
"""

from __future__ import annotations

from planner.render.growth_words import figure_lines, growth, part_lines
from planner.results.budget import BudgetReport, CardCheck, CheckVerdict
from planner.results.limit_verdict import LimitVerdict
from planner.units import counted

_WRITTEN = "the lock file is written"
_NO_LOCK = "there is no lock file: planner check --update writes one"


def summary(report: BudgetReport) -> str:
    """Returns how many checks ended in which way."""
    every = [check.verdict for check in report.checks]
    return ", ".join(
        f"{every.count(verdict)} {verdict.value}"
        for verdict in CheckVerdict
        if every.count(verdict) or verdict is CheckVerdict.WITHIN
    )


def title(report: BudgetReport) -> str:
    """Returns the summary with the number of checks."""
    return f"{counted(len(report.checks), 'check')}: {summary(report)}"


def since_the_lock(report: BudgetReport, *, verbose: bool = False) -> list[str]:
    """Returns what differs from the lock file: versions, options, figures, parts of the peak."""
    if not report.is_locked:
        return [_WRITTEN if report.is_updated else _NO_LOCK]
    lines = [f"versions: {text}" for text in _versions(report)]
    for check in report.checks:
        lines += [
            f"{check.name}: option {name}: {_option(before)} -> {_option(after)}"
            for name, before, after in check.changed_words
        ]
        for card in check.cards:
            lines += [
                f"{check.name} on {card.gpu}: {text}"
                for text in _card(card, verbose, report.is_updated)
            ]
    return [*lines, *([_WRITTEN] if report.is_updated else [])]


def since(card: CardCheck) -> str:
    """Returns the growth of the peak since the lock file; "new" if the file does not have it."""
    if card.locked is None or card.difference is None:
        return "new"
    return growth(card.difference.grown_bytes, card.locked.device_total_bytes)


def warnings(report: BudgetReport) -> list[str]:
    """Returns the warnings of all estimates, each once."""
    return list(
        dict.fromkeys(f"{check.name}: {text}" for check in report.checks for text in check.warnings)
    )


def failed(report: BudgetReport) -> list[str]:
    """Returns why each target failed, and the limits that could not be decided."""
    found = [f"{one.name}: {one.error}" for one in report.checks if one.error is not None]
    return [*found, *_limits(report, LimitVerdict.UNDECIDED)]


def exceeded(report: BudgetReport) -> list[str]:
    """Returns the limits that are exceeded."""
    return _limits(report, LimitVerdict.EXCEEDED)


def held(report: BudgetReport) -> list[str]:
    """Returns the limits that hold."""
    return _limits(report, LimitVerdict.WITHIN)


def _limits(report: BudgetReport, verdict: LimitVerdict) -> list[str]:
    return [
        f"{check.name} on {card.gpu}: {limit.sentence}"
        for check in report.checks
        for card in check.cards
        for limit in card.limits
        if limit.verdict is verdict
    ]


def _card(card: CardCheck, verbose: bool, is_updated: bool) -> list[str]:
    if card.difference is None and is_updated:
        return []
    if card.difference is None:
        return ["not in the lock file: planner check --update adds it"]
    parts = card.difference.parts
    lines = part_lines(parts, most=len(parts)) if verbose else part_lines(parts)
    return [*figure_lines(card.difference), *lines]


def _versions(report: BudgetReport) -> list[str]:
    found = [
        f"{name} {before or 'none'} -> {after or 'none'}, so the figures may differ without a "
        "change of the code"
        for check in report.checks
        for name, before, after in check.changed_versions
    ]
    return list(dict.fromkeys(found))


def _option(value: str | None) -> str:
    return "not given" if value is None else value
