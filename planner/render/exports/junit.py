"""A BudgetReport as JUnit XML: a test case for each check, card and limit.

In: BudgetReport. Out: text. Convention: a limit that is exceeded is a failure, a target that failed
or a limit that could not be decided is an error. There are no times: equal figures give an equal
file.
"""

from __future__ import annotations

import re
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from planner.render.growth_words import part_lines
from planner.results.budget import BudgetReport, CardCheck, CheckResult
from planner.results.limit_verdict import LimitResult, LimitVerdict

# XML 1.0 has no way to write these characters.
_NOT_IN_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def export(report: BudgetReport) -> str:
    """Returns the document."""
    root = Element("testsuites", name="planner check")
    for check in report.checks:
        suite = SubElement(root, "testsuite", name=_text(check.name))
        if check.error is not None:
            case = _test_case(suite, check, "estimate")
            _add(case, "error", check.error, check.error)
        for card in check.cards:
            for limit in card.limits:
                _case(suite, check, card, limit)
        _count(suite)
    _count(root)
    indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + tostring(root, encoding="unicode") + "\n"


def _case(suite: Element, check: CheckResult, card: CardCheck, limit: LimitResult) -> None:
    name = f"{card.gpu}: {limit.limit.kind.value} {limit.limit.text}".strip()
    case = _test_case(suite, check, name)
    if limit.verdict is LimitVerdict.EXCEEDED:
        body = "\n".join([limit.sentence, *part_lines(card.grown)])
        _add(case, "failure", limit.sentence, body)
    elif limit.verdict is LimitVerdict.UNDECIDED:
        _add(case, "error", limit.sentence, limit.sentence)


def _add(case: Element, kind: str, message: str, body: str) -> None:
    first = message.splitlines()[0] if message else kind
    element = SubElement(case, kind, message=_text(first), type=kind)
    element.text = _text(body)


def _test_case(suite: Element, check: CheckResult, name: str) -> Element:
    case = SubElement(suite, "testcase", classname=_text(check.name), name=_text(name))
    if check.file is not None:
        case.set("file", _text(check.file))
        case.set("line", str(check.line))
    return case


def _count(element: Element) -> None:
    cases = list(element.iter("testcase"))
    element.set("tests", str(len(cases)))
    for kind in ("failure", "error"):
        number = sum(case.find(kind) is not None for case in cases)
        element.set(f"{kind}s", str(number))


def _text(text: str) -> str:
    return _NOT_IN_XML.sub("\ufffd", text)
