"""The lock file of `planner check`: the figures of each check, to compare later ones with.

In: BudgetReport, or the text of a file. Out: Lock, text. Convention: JSON with sorted keys; equal
figures give an equal file, because it holds no time, no host name and no path outside of the
project.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from planner.errors import DocumentError
from planner.results.budget import BudgetReport
from planner.results.card_figures import CardFigures, figures_from
from planner.results.estimate import Versions

LOCK_VERSION = 1
_REMAKE = "or remove the file and write a new one with planner check --update"


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedCheck:
    """Target, options and figures of one check, by card, and the software that made them."""

    target: str
    versions: Versions | None
    words: tuple[tuple[str, str], ...]
    cards: Mapping[str, CardFigures]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """The content of a lock file; without a file it is empty."""

    checks: Mapping[str, LockedCheck] = field(default_factory=dict)

    def figures(self, check: str, gpu: str) -> CardFigures | None:
        """Returns the kept figures of a check on a card; None if there are none."""
        found = self.checks.get(check)
        return None if found is None else found.cards.get(gpu)


def updated_lock(old: Lock, report: BudgetReport, names: Collection[str]) -> Lock:
    """Returns the lock with the figures of a report; `names` are all checks of the project.

    A check that failed or was not run keeps what the file has of it; one that is no longer in the
    project is dropped.
    """
    checks = {name: kept for name, kept in old.checks.items() if name in names}
    for check in report.checks:
        if check.error is None:
            checks[check.name] = LockedCheck(
                target=check.target,
                versions=check.versions,
                words=check.words,
                cards={card.gpu: card.figures for card in check.cards},
            )
    return Lock(checks=checks)


def lock_text(lock: Lock) -> str:
    """Returns the text of the file."""
    document = {
        "schema_version": LOCK_VERSION,
        "checks": {
            name: {
                "target": check.target,
                "versions": None if check.versions is None else check.versions.to_dict(),
                "options": dict(check.words),
                "cards": {gpu: figures.to_dict() for gpu, figures in check.cards.items()},
            }
            for name, check in lock.checks.items()
        },
    }
    return json.dumps(document, indent=1, sort_keys=True) + "\n"


def read_lock(text: str, place: str) -> Lock:
    """Returns the content of a lock file; `place` is its name in messages.

    Raises:
        DocumentError: it is no lock file, damaged, or of another version.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DocumentError(
            f"{place} cannot be read: it is not JSON ({error}). Take it from your version control "
            f"again, {_REMAKE}"
        ) from error
    if not isinstance(document, dict) or "checks" not in document:
        raise DocumentError(f"{place} is not a lock file of planner: name another, {_REMAKE}")
    version = document.get("schema_version")
    if version != LOCK_VERSION:
        raise DocumentError(
            f"{place} has schema_version {version!r}, and this planner knows {LOCK_VERSION}: use "
            f"the planner that wrote it, {_REMAKE}"
        )
    try:
        return _lock(document)
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        said = f"the key {error} is missing" if isinstance(error, KeyError) else str(error)
        raise DocumentError(
            f"{place} cannot be read: {said}. Take it from your version control again, {_REMAKE}"
        ) from error


def _lock(document: Mapping[str, Any]) -> Lock:
    return Lock(
        checks={name: _check(check) for name, check in document["checks"].items()},
    )


def _check(check: Mapping[str, Any]) -> LockedCheck:
    versions = check["versions"]
    return LockedCheck(
        target=check["target"],
        versions=None if versions is None else Versions(**versions),
        words=tuple((str(key), str(value)) for key, value in check["options"].items()),
        cards={gpu: figures_from(one) for gpu, one in check["cards"].items()},
    )
