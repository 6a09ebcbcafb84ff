"""A report of checks in each of its forms: complete, safe, and the same for the same figures."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from rich.console import Console

from planner.config.limits import parse_limits
from planner.preflight.source_names import SourceName
from planner.render.exports import junit, markdown, sarif
from planner.render.growth_words import part_lines
from planner.render.terminal.check import render
from planner.results.budget import BudgetReport, CheckResult, card_check
from planner.results.card_figures import CardFigures, figures_of
from planner.results.device_estimate import DeviceEstimate
from planner.results.difference import Side, difference
from planner.results.peak_parts import Change, PartKind
from tests.unit.budget_records import VERSIONS, block, card, estimate_of

ROOT = Path(__file__).parents[3]
HOSTILE = "a|b <script>*`@me`\x1b[31m\x00"


def named(source: str) -> SourceName:
    place, _, text = source.partition(" ")
    file = place.partition(":")[0]
    return SourceName(name=f"{file}: {text}", place=place, is_inside=file == "net.py")


def figures(of: DeviceEstimate) -> CardFigures:
    return figures_of(of, named)


BEFORE = figures(card(block(1024, "a", "net.py:3 h = up(x)")))
AFTER = figures(
    card(
        block(1024, "a", "net.py:3 h = up(x)"),
        block(512, "layers.0.mlp", "net.py:7 y = down(h)", operator="aten::gelu"),
        block(768, "layers.0.mlp", "timm/layers.py:1 z", operator="aten::gelu"),
    )
)


@pytest.fixture
def report() -> BudgetReport:
    """One within, one that grew, one that failed."""
    limits = parse_limits({"max-peak": "3 GiB", "max-growth": "5 %"})
    return BudgetReport(
        checks=(
            CheckResult(
                name="small",
                target="net.py",
                file="net.py",
                line=4,
                cards=(card_check("t4", BEFORE, parse_limits({}), BEFORE, is_updated=False),),
                versions=VERSIONS,
            ),
            CheckResult(
                name="grown",
                target="net.py",
                file="net.py",
                line=4,
                cards=(card_check("t4", AFTER, limits, BEFORE, is_updated=False),),
                warnings=("a figure may be wrong",),
                versions=VERSIONS,
                locked_versions=replace(VERSIONS, torch="2.13.0"),
                changed_words=(("batch", "8", "16"),),
            ),
            CheckResult(name="broken", target="no.py", error="there is no file no.py\nlook again"),
        ),
        is_locked=True,
    )


def documented(command: str) -> dict[str, set[str]]:
    """Returns the keys that the guide names for a command, by what they are of."""
    page = (ROOT / "docs" / "guides" / "ci.md").read_text(encoding="utf-8")
    table = page.partition(f"| `{command}` | keys |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| (.*?) \| (.*) \|$", table, re.MULTILINE)
    plain = [(name, re.sub(r" \([^)]*\)", "", keys)) for name, keys in rows]
    return {name: set(re.findall(r"`(\w+)`", keys)) for name, keys in plain}


def test_the_guide_has_every_key_of_the_documents(report: BudgetReport) -> None:
    document = report.to_dict()
    on_card = document["checks"][1]["cards"][0]
    assert documented("planner check --json") == {
        "the document": set(document),
        "each of `checks`": set(document["checks"][1]),
        "each of `cards`": set(on_card),
        "each of `limits`": set(on_card["limits"][0]),
        "`figures`": set(on_card["figures"]),
        "each of `changed_parts`": set(on_card["changed_parts"][0]),
    }
    found = estimate_of(card(block(1)))
    side = Side(label="a", found=found, name_source=named)
    other = difference(side, side).to_dict()
    assert documented("planner diff --json") == {
        "the document": set(other),
        "each of `cards`": set(other["cards"][0]),
    }


def shown(report: BudgetReport, *, verbose: bool = False) -> str:
    console = Console(file=io.StringIO(), width=200, no_color=True, force_terminal=False)
    console.print(render(report, verbose=verbose))
    assert isinstance(console.file, io.StringIO)
    return "".join(f"{line.rstrip()}\n" for line in console.file.getvalue().splitlines())


def test_the_report_says_what_is_over_and_what_grew(report: BudgetReport) -> None:
    text = shown(report)
    assert text.startswith("checks: 1 within, 1 exceeded, 1 failed\n")
    rows = re.findall(r"^(small|grown|broken) +(\S+) +(\w+) ", text, re.MULTILINE)
    assert rows == [
        ("small", "t4", "within"),
        ("grown", "t4", "exceeded"),
        ("broken", "-", "failed"),
    ]
    for said in (
        "- grown on t4: peak 3.25 GiB, 256 MiB above max-peak 3 GiB",
        "- grown on t4: peak grew by 1.25 GiB (62 %) since the lock file, above max-growth 5 %",
        "- grown on t4: module layers.0.mlp: +1.25 GiB (0 B -> 1.25 GiB)",
        "- grown on t4: operator aten::gelu: +1.25 GiB (0 B -> 1.25 GiB)",
        "- grown on t4: source line net.py:7: y = down(h): +512 MiB (0 B -> 512 MiB)",
        "- grown: option batch: 8 -> 16",
        "- versions: torch 2.13.0 -> 2.14.1+cu130, so the figures may differ without a change",
        "- broken: there is no file no.py",
        "- grown: a figure may be wrong",
    ):  # fmt: skip
        assert said in text
    assert "small on t4" not in text
    assert "small on t4: fits" in shown(report, verbose=True)


def test_what_is_left_out_is_summed_up() -> None:
    found = [
        Change(kind=kind, name=f"n{size}", before_bytes=0, after_bytes=size)
        for kind in (PartKind.MODULE, PartKind.CATEGORY)
        for size in range(1, 4 if kind is PartKind.MODULE else 5)
    ]
    assert part_lines(found, most=2) == [
        "module n3: +3 B (0 B -> 3 B)",
        "module n2: +2 B (0 B -> 2 B)",
        "1 more module: +1 B",
        "category n4: +4 B (0 B -> 4 B)",
        "category n3: +3 B (0 B -> 3 B)",
        "2 more categories: +3 B",
    ]
    assert len(part_lines(found)) == 7


def test_without_a_lock_the_report_says_how_to_get_one(report: BudgetReport) -> None:
    bare = replace(report, is_locked=False)
    assert "there is no lock file: planner check --update writes one" in shown(bare)
    assert "the lock file is written" in shown(replace(bare, is_updated=True))


@pytest.mark.parametrize("export", [markdown.export, junit.export, sarif.export, shown])
def test_equal_figures_give_equal_files(
    export: Callable[[BudgetReport], str], report: BudgetReport
) -> None:
    assert export(report) == export(replace(report, checks=tuple(report.checks)))
    assert export(report).endswith("\n")


def test_markdown_shows_names_as_they_are(report: BudgetReport) -> None:
    text = markdown.export(report)
    assert text.startswith("### planner check: 3 checks: 1 within, 1 exceeded, 1 failed\n")
    assert "| grown | t4 | **exceeded** | 3.25 GiB |" in text
    assert "- grown on t4: peak 3.25 GiB, 256 MiB above max-peak 3 GiB\n" in text
    hostile = replace(report, checks=(replace(report.checks[0], name=HOSTILE),))
    row = markdown.export(hostile).splitlines()[4]
    assert row.startswith("| a&#124;b &#60;script&#62;&#42;&#96;&#64;me&#96;&#92;x1b&#91;31m")
    assert row.count("|") == 10


def test_junit_has_a_case_for_each_limit(report: BudgetReport) -> None:
    root = ElementTree.fromstring(junit.export(report).encode())
    assert root.attrib == {"name": "planner check", "tests": "5", "failures": "2", "errors": "1"}
    assert [suite.get("name") for suite in root] == ["small", "grown", "broken"]
    failures = {
        case.get("name"): failure for case in root.iter("testcase")
        if (failure := case.find("failure")) is not None
    }  # fmt: skip
    assert set(failures) == {"t4: max-peak 3 GiB", "t4: max-growth 5 %"}
    text = failures["t4: max-peak 3 GiB"].text or ""
    assert "source line net.py:7: y = down(h): +512 MiB" in text
    (error,) = root.iter("error")
    assert error.get("message") == "there is no file no.py"
    assert not any("time" in element.attrib for element in root.iter())
    hostile = replace(report, checks=(replace(report.checks[2], name=HOSTILE, error=HOSTILE),))
    again = ElementTree.fromstring(junit.export(hostile).encode())
    assert "\x1b" not in (again[0].get("name") or "")


def test_sarif_points_to_the_line_that_grew_most_in_the_project(report: BudgetReport) -> None:
    document = json.loads(sarif.export(report))
    assert document["version"] == "2.1.0"
    (run,) = document["runs"]
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    found = [
        (
            one["ruleId"],
            one["locations"][0]["physicalLocation"]["artifactLocation"]["uri"],
            one["locations"][0]["physicalLocation"]["region"]["startLine"],
        )
        for one in run["results"]
    ]
    assert found == [
        ("max-peak", "net.py", 7),  # the line of timm grew more, and is not of the project
        ("max-growth", "net.py", 7),
        ("target-failed", "planner.toml", 1),
    ]
    assert all(rules[one["ruleIndex"]] == one["ruleId"] for one in run["results"])
    prints = [one["partialFingerprints"]["plannerCheck/v1"] for one in run["results"]]
    assert len(set(prints)) == len(prints)


def test_sarif_without_growth_points_to_the_definition(report: BudgetReport) -> None:
    limits = parse_limits({"max-peak": "1 GiB"})
    check = replace(
        report.checks[0],
        file="my models/net.py",
        cards=(card_check("t4", BEFORE, limits, None, is_updated=False),),
    )
    (one,) = json.loads(sarif.export(replace(report, checks=(check,))))["runs"][0]["results"]
    place = one["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "my%20models/net.py"
    assert place["region"]["startLine"] == 4
