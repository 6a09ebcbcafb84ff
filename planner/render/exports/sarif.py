"""A BudgetReport as SARIF 2.1.0, for code scanning: a result for each limit that does not hold.

In: BudgetReport. Out: JSON text. Convention: the place of a result is the line of the code whose
memory grew most since the lock file; without one in the project, the definition of the target; for
a target that is no file of the project, the file of the checks.
https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html
"""

from __future__ import annotations

import hashlib
import json
from typing import Any
from urllib.parse import quote

from planner._version import __version__
from planner.config.limits import LimitKind
from planner.render.growth_words import part_lines
from planner.results.budget import BudgetReport, CardCheck, CheckResult
from planner.results.limit_verdict import LimitVerdict
from planner.results.peak_parts import PartKind

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_FAILED = "target-failed"
_RULES = {
    LimitKind.FITS.value: "The step does not fit on the card",
    LimitKind.MAX_PEAK.value: "The peak on the card is above its limit",
    LimitKind.MIN_MARGIN.value: "Less memory stays free than the limit",
    LimitKind.MIN_LARGEST_BATCH.value: "The largest batch is below its limit",
    LimitKind.MAX_STEP_TIME.value: "The step takes longer than its limit",
    LimitKind.MAX_COST.value: "The cost is above its limit",
    LimitKind.MAX_GROWTH.value: "The peak grew by more than its limit since the lock file",
    _FAILED: "The target could not be estimated",
}


def export(report: BudgetReport) -> str:
    """Returns the document."""
    results = [result for check in report.checks for result in _results(check, report.file)]
    rules = list(_RULES)
    document = {
        "$schema": _SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "planner",
                        "version": __version__,
                        "rules": [
                            {"id": rule, "shortDescription": {"text": _RULES[rule]}}
                            for rule in rules
                        ],
                    }
                },
                "columnKind": "unicodeCodePoints",
                "results": [{**one, "ruleIndex": rules.index(one["ruleId"])} for one in results],
            }
        ],
    }
    return json.dumps(document, indent=2) + "\n"


def _results(check: CheckResult, checks_file: str) -> list[dict[str, Any]]:
    found = []
    if check.error is not None:
        text = f"{check.name}: {check.error}"
        found.append(_result(check, _FAILED, "", text, _definition(check, checks_file)))
    for card in check.cards:
        for limit in card.broken:
            text = f"{check.name} on {card.gpu}: {limit.sentence}"
            if limit.verdict is LimitVerdict.EXCEEDED:
                text = "\n".join([text, *part_lines(card.grown)])
            rule = limit.limit.kind.value
            found.append(
                _result(
                    check, rule, card.gpu, text, _place(card) or _definition(check, checks_file)
                )
            )
    return found


def _result(
    check: CheckResult, rule: str, gpu: str, text: str, place: tuple[str, int]
) -> dict[str, Any]:
    file, line = place
    identity = hashlib.sha256("\0".join((check.name, gpu, rule)).encode()).hexdigest()
    return {
        "ruleId": rule,
        "level": "error",
        "message": {"text": text},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": quote(file), "uriBaseId": "%SRCROOT%"},
                    "region": {"startLine": line},
                }
            }
        ],
        "partialFingerprints": {"plannerCheck/v1": identity},
    }


def _place(card: CardCheck) -> tuple[str, int] | None:
    """Returns the line in the project that grew most; None if none is known."""
    inside = set(card.figures.parts.inside)
    for change in card.grown:
        if change.kind is PartKind.SOURCE and change.place and change.name in inside:
            file, _, line = change.place.rpartition(":")
            return file, max(1, int(line))
    return None


def _definition(check: CheckResult, checks_file: str) -> tuple[str, int]:
    return (checks_file, 1) if check.file is None else (check.file, max(1, check.line))
