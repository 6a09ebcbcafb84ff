"""The result of `planner check`: each check with its limits, and the difference to the lock file.

In: figures of estimates, limits, a lock. Out: BudgetReport and its JSON form (schema_version 1:
keys are added, never changed or removed). Convention: an estimate that failed is part of the
result; nothing in it depends on the time, the machine or the folder of the project.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

from planner.config.limits import Limits
from planner.results.card_figures import CardFigures, FiguresDifference, compared
from planner.results.estimate import Versions
from planner.results.limit_verdict import FITS, LimitResult, LimitVerdict, judged
from planner.results.peak_parts import Change, PartKind

SCHEMA_VERSION = 1


class CheckVerdict(str, Enum):
    """How a check ended."""

    WITHIN = "within"
    """All limits hold."""
    EXCEEDED = "exceeded"
    """A limit does not hold."""
    FAILED = "failed"
    """The target failed, or a limit could not be decided."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CardCheck:
    """One check on one card. `difference` is that to the lock file; None: it is not in there."""

    gpu: str
    figures: CardFigures
    limits: tuple[LimitResult, ...]
    locked: CardFigures | None
    difference: FiguresDifference | None

    @property
    def verdict(self) -> CheckVerdict:
        """Returns how the check ended on this card."""
        found = {limit.verdict for limit in self.limits}
        if LimitVerdict.UNDECIDED in found:
            return CheckVerdict.FAILED
        return CheckVerdict.EXCEEDED if LimitVerdict.EXCEEDED in found else CheckVerdict.WITHIN

    @property
    def broken(self) -> tuple[LimitResult, ...]:
        """Returns the limits that do not hold or cannot be decided."""
        return tuple(one for one in self.limits if one.verdict is not LimitVerdict.WITHIN)

    @property
    def grown(self) -> tuple[Change, ...]:
        """Returns the parts of the peak that grew since the lock file."""
        parts = () if self.difference is None else self.difference.parts
        return tuple(change for change in parts if change.grown_bytes > 0)

    def to_dict(self) -> dict[str, Any]:
        """Returns the entry of the JSON list `cards`."""
        difference = self.difference
        return {
            "gpu": self.gpu,
            "verdict": self.verdict.value,
            "limits": [limit.to_dict() for limit in self.limits],
            "figures": self.figures.to_dict(),
            "locked_device_total_bytes": None
            if self.locked is None
            else self.locked.device_total_bytes,
            "grown_bytes": None if difference is None else difference.grown_bytes,
            "changed_figures": []
            if difference is None
            else [
                {"figure": one.name, "before": one.before, "after": one.after}
                for one in difference.figures
            ],
            "changed_parts": []
            if difference is None
            else [change.to_dict() for change in difference.parts],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """One check. `file` and `line` are the place of its target in the project, if it is a file.

    `error` says why the target failed; None: it did not. `locked_versions` are those of the lock
    file's figures; None: it has none. `changed_words` are options that differ
    from those of the lock file: name, before, after.
    """

    name: str
    target: str
    words: tuple[tuple[str, str], ...] = ()
    file: str | None = None
    line: int = 1
    cards: tuple[CardCheck, ...] = ()
    warnings: tuple[str, ...] = ()
    error: str | None = None
    versions: Versions | None = None
    locked_versions: Versions | None = None
    changed_words: tuple[tuple[str, str | None, str | None], ...] = ()

    @property
    def verdict(self) -> CheckVerdict:
        """Returns how the check ended; a failure is named before a limit that is exceeded."""
        found = {card.verdict for card in self.cards}
        if self.error is not None or CheckVerdict.FAILED in found:
            return CheckVerdict.FAILED
        return CheckVerdict.EXCEEDED if CheckVerdict.EXCEEDED in found else CheckVerdict.WITHIN

    @property
    def changed_versions(self) -> tuple[tuple[str, str | None, str | None], ...]:
        """Returns name, before and after of each version that differs from the lock file's."""
        if self.versions is None or self.locked_versions is None:
            return ()
        old, new = self.locked_versions.to_dict(), self.versions.to_dict()
        pairs = ((name, old.get(name), new.get(name)) for name in new)
        return tuple(
            (str(name), _text(before), _text(after))
            for name, before, after in pairs
            if before != after
        )

    def to_dict(self) -> dict[str, Any]:
        """Returns the entry of the JSON list `checks`."""
        return {
            "name": self.name,
            "target": self.target,
            "options": dict(self.words),
            "verdict": self.verdict.value,
            "error": self.error,
            "cards": [card.to_dict() for card in self.cards],
            "warnings": list(self.warnings),
            "versions": None if self.versions is None else self.versions.to_dict(),
            "changed_versions": [
                {"name": name, "before": before, "after": after}
                for name, before, after in self.changed_versions
            ],
            "changed_options": [
                {"option": name, "before": before, "after": after}
                for name, before, after in self.changed_words
            ],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetReport:
    """All checks of a project, in the order of its file.

    `file` is that file, by its path in the repository. `is_locked`: there was a lock
    file. `is_updated`: it is written with these figures.
    """

    checks: tuple[CheckResult, ...]
    is_locked: bool
    is_updated: bool = False
    file: str = "planner.toml"

    @property
    def verdict(self) -> CheckVerdict:
        """Returns FAILED if a check failed, else EXCEEDED if a limit is exceeded, else WITHIN."""
        found = {check.verdict for check in self.checks}
        for verdict in (CheckVerdict.FAILED, CheckVerdict.EXCEEDED):
            if verdict in found:
                return verdict
        return CheckVerdict.WITHIN

    def to_dict(self) -> dict[str, Any]:
        """Returns the JSON document of `planner check --json`."""
        return {
            "schema_version": SCHEMA_VERSION,
            "file": self.file,
            "verdict": self.verdict.value,
            "has_lock": self.is_locked,
            "checks": [check.to_dict() for check in self.checks],
        }


def card_check(
    gpu: str, figures: CardFigures, limits: Limits, locked: CardFigures | None, *, is_updated: bool
) -> CardCheck:
    """Returns a check on one card: whether it fits, its limits, and what the lock file has.

    With `is_updated` the growth is accepted: it is limited from the new figures on.
    """
    grown_from = figures if is_updated else locked
    return CardCheck(
        gpu=gpu,
        figures=figures,
        limits=tuple(
            judged(limit, figures, grown_from, strict=limits.strict)
            for limit in (FITS, *limits.limits)
        ),
        locked=locked,
        difference=None if locked is None else compared(locked, figures),
    )


def largest_growth(card: CardCheck, kind: PartKind) -> Change | None:
    """Returns the part of one kind that grew most, a named one first; None if none grew."""
    grown = [change for change in card.grown if change.kind is kind]
    return next((change for change in grown if change.name), grown[0] if grown else None)


def _text(value: object) -> str | None:
    return None if value is None else str(value)
