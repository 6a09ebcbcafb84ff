"""Checks against limits and the lock file: verdicts, sentences, the file to the byte."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from planner.config.limits import parse_limits
from planner.errors import DocumentError
from planner.preflight.source_names import SourceName
from planner.results.budget import BudgetReport, CardCheck, CheckResult, CheckVerdict, card_check
from planner.results.budget_lock import Lock, LockedCheck, lock_text, read_lock, updated_lock
from planner.results.card_figures import CardFigures, figures_of
from planner.results.device_estimate import DeviceEstimate
from planner.results.limit_verdict import LimitVerdict
from planner.results.step_time import StepTime
from planner.units import GIB, MIB
from tests.unit.budget_records import VERSIONS, block, card


def named(source: str) -> SourceName:
    return SourceName(name=source, place=source, is_inside=True)


def figures(of: DeviceEstimate) -> CardFigures:
    return figures_of(of, named)


def checked(
    found: CardFigures, locked: CardFigures | None = None, *, updated: bool = False, **words: object
) -> CardCheck:
    limits = parse_limits({name.replace("_", "-"): value for name, value in words.items()})
    return card_check("t4", found, limits, locked, is_updated=updated)


@pytest.mark.parametrize(
    ("mib", "words", "verdict", "said"),
    [
        (1024, {}, "within", "fits: peak 2.00 GiB, of 10.0 GiB usable memory"),
        (10240, {}, "exceeded", "does not fit: peak 11.0 GiB, 1.00 GiB more than 10.0 GiB"),
        (8704, {}, "within", ""),  # 9.5 GiB; its upper end is 10.5 GiB
        (8704, {"strict": True}, "exceeded", "upper end of the peak 10.5 GiB, 512 MiB more than"),
        (1024, {"max_peak": "2 GiB"}, "within", "peak 2.00 GiB, max-peak 2 GiB"),
        (1024, {"max_peak": "1 GiB"}, "exceeded", "peak 2.00 GiB, 1.00 GiB above max-peak 1 GiB"),
        (1024, {"max_peak": "2 GiB", "strict": True}, "exceeded", "1.00 GiB above max-peak"),
        (1024, {"min_margin": "8 GiB"}, "within", "free memory 8.00 GiB, min-margin 8 GiB"),
        (1024, {"min_margin": "80 %"}, "within", ""),
        (1025, {"min_margin": "80 %"}, "exceeded", "1.00 MiB less than min-margin 80 %"),
        (1024, {"min_largest_batch": 64}, "within", "largest batch 64, min-largest-batch 64"),
        (1024, {"min_largest_batch": 65}, "exceeded", "largest batch 64, below"),
        (1024, {"min_largest_batch": 57, "strict": True}, "exceeded", "batch 56"),
    ],
)
def test_limits_are_compared_with_the_figures(
    mib: int, words: dict[str, object], verdict: str, said: str
) -> None:
    found = checked(figures(card(block(mib))), **words)
    assert found.verdict.value == verdict
    assert said in "\n".join(one.sentence for one in found.broken or found.limits)


def test_times_and_money(step_time: StepTime, a100: DeviceEstimate) -> None:
    found = figures(a100)  # 100 ms, at most 130 ms; 3.6 USD an hour
    for words, holds in (
        ({"max_step_time": "100 ms"}, True),
        ({"max_step_time": "99.9 ms"}, False),
        ({"max_step_time": "129 ms", "strict": True}, False),
        ({"max_cost": "6.26 USD/1M samples"}, True),
        ({"max_cost": "6.24 USD/1M samples"}, False),
        ({"max_cost": "3.6 USD/epoch"}, True),
        ({"max_cost": "3.59 USD/epoch"}, False),
    ):
        verdict = checked(found, **words).limits[1].verdict
        assert verdict is (LimitVerdict.WITHIN if holds else LimitVerdict.EXCEEDED), words


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"max_step_time": "1 s"}, "the time of the step is not known"),
        ({"max_cost": "1 USD/epoch"}, "price or dataset-size is missing"),
        ({"min_largest_batch": 1}, "the largest batch is not known"),
        ({"max_peak": "9 GiB", "strict": True}, "no interval is known"),
        ({"max_growth": "5 %"}, "the lock file has no figure of it: run planner check --update"),
    ],
)
def test_what_is_not_known_is_not_within(words: dict[str, object], said: str) -> None:
    bare = replace(card(block(1), largest=None), device_total_interval_bytes=None)
    found = checked(figures(bare), **words)
    assert found.verdict is CheckVerdict.FAILED
    assert said in found.broken[-1].sentence


def test_a_limit_that_cannot_be_decided_counts_more_than_one_that_is_exceeded() -> None:
    found = checked(figures(card(block(1024))), max_peak="1 GiB", max_step_time="1 s")
    assert [one.verdict.value for one in found.broken] == ["exceeded", "undecided"]
    assert found.verdict is CheckVerdict.FAILED


def test_a_price_in_another_currency_is_not_compared(a100: DeviceEstimate) -> None:
    found = checked(figures(a100), max_cost="1 EUR/epoch")
    assert "the price is in USD, not in EUR" in found.broken[0].sentence


def test_growth_since_the_lock() -> None:
    before = figures(card(block(1024, "a", "net.py:1")))
    after = figures(card(block(1024, "a", "net.py:1"), block(256, "b", "net.py:2")))
    found = checked(after, before, max_growth="5 %")
    assert found.verdict is CheckVerdict.EXCEEDED
    assert found.broken[0].sentence == (
        "peak grew by 256 MiB (12 %) since the lock file, above max-growth 5 %"
    )
    assert {(one.kind.value, one.name): one.grown_bytes for one in found.grown} == {
        ("module", "b"): 256 * MIB,
        ("operator", "aten::linear"): 256 * MIB,
        ("source line", "net.py:2"): 256 * MIB,
        ("category", "saved activation"): 256 * MIB,
    }
    assert checked(after, before, max_growth="13 %").verdict is CheckVerdict.WITHIN
    assert checked(after, before).verdict is CheckVerdict.WITHIN  # reported alone
    assert checked(before, after, max_growth="0 %").verdict is CheckVerdict.WITHIN  # it shrank


def test_an_update_accepts_the_growth() -> None:
    before, after = figures(card(block(1024))), figures(card(block(2048)))
    found = checked(after, before, updated=True, max_growth="5 %")
    assert found.verdict is CheckVerdict.WITHIN
    assert found.difference is not None
    assert found.difference.grown_bytes == GIB
    assert checked(after, updated=True, max_growth="5 %").verdict is CheckVerdict.WITHIN


def result(name: str, *cards: CardCheck, error: str | None = None) -> CheckResult:
    return CheckResult(
        name=name,
        target="net.py",
        words=(("batch", "8"),),
        cards=cards,
        error=error,
        versions=None if error else VERSIONS,
    )


def report(*checks: CheckResult) -> BudgetReport:
    return BudgetReport(checks=checks, is_locked=False)


def test_a_failure_counts_more_than_a_limit_and_both_are_there() -> None:
    small, large = figures(card(block(1))), figures(card(block(20480)))
    within, exceeded = result("a", checked(small)), result("b", checked(large))
    failed = result("c", error="no such file")
    assert report(within).verdict is CheckVerdict.WITHIN
    assert report(within, exceeded).verdict is CheckVerdict.EXCEEDED
    assert report(exceeded, failed, within).verdict is CheckVerdict.FAILED


def test_a_lock_is_read_as_it_was_written(a100: DeviceEstimate) -> None:
    for one in (card(block(1, "a", "net.py:1")), a100):
        first = updated_lock(Lock(), report(result("b", checked(figures(one)))), ["a", "b"])
        text = lock_text(first)
        again = read_lock(text, "planner.lock")
        assert lock_text(again) == text
        kept = again.figures("b", "t4")
        assert kept is not None
        assert not (found := checked(figures(one), kept).difference) or found.is_none
    assert first.figures("b", "a100") is first.figures("c", "t4") is None


def test_a_lock_is_sorted_and_has_nothing_of_the_machine() -> None:
    one, two = (result(name, checked(figures(card(block(1))))) for name in ("b", "a"))
    text = lock_text(updated_lock(Lock(), report(one, two), ["b", "a"]))
    assert text == lock_text(updated_lock(Lock(), report(two, one), ["a", "b"]))
    document = json.loads(text)
    assert list(document) == ["checks", "schema_version"]
    assert list(document["checks"]) == ["a", "b"]
    assert set(document["checks"]["a"]) == {"target", "versions", "options", "cards"}


def test_an_update_keeps_what_failed_and_drops_what_is_gone() -> None:
    old = updated_lock(
        Lock(),
        report(*(result(name, checked(figures(card(block(1))))) for name in ("a", "b", "c"))),
        ["a", "b", "c"],
    )
    new = updated_lock(
        old,
        report(result("a", checked(figures(card(block(2))))), result("b", error="x")),
        ["a", "b"],
    )
    assert set(new.checks) == {"a", "b"}
    assert new.checks["b"] == old.checks["b"]
    grown = new.figures("a", "t4")
    assert grown is not None
    assert grown.device_total_bytes == GIB + 2 * MIB


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "it is not JSON"),
        ("[]", "is not a lock file of planner"),
        ('{"packages": []}', "is not a lock file of planner"),
        ('{"schema_version": 2, "checks": {}}', "has schema_version 2, and this planner knows 1"),
        ('{"checks": {}}', "has schema_version None"),
        ('{"schema_version": 1, "checks": {"a": {}}}', "the key 'versions' is missing"),
        ('{"schema_version": 1, "checks": 3}', "cannot be read"),
    ],
)
def test_another_lock_is_refused_with_a_way_out(text: str, said: str) -> None:
    with pytest.raises(DocumentError) as error:
        read_lock(text, "planner.lock")
    assert said in str(error.value)
    assert "planner.lock" in str(error.value)
    assert "remove the file and write a new one with planner check --update" in str(error.value)


def test_figures_that_are_no_numbers_are_refused() -> None:
    text = lock_text(
        updated_lock(Lock(), report(result("a", checked(figures(card(block(1)))))), ["a"])
    )
    damaged = text.replace('"device_total_bytes": 1074790400', '"device_total_bytes": "much"')
    assert damaged != text
    with pytest.raises(DocumentError, match="cannot be read"):
        read_lock(damaged, "planner.lock")


def test_versions_and_options_that_differ_are_named() -> None:
    locked = replace(VERSIONS, torch="2.13.0+cu130")
    found = replace(result("a"), locked_versions=locked)
    assert found.changed_versions == (("torch", "2.13.0+cu130", "2.14.1+cu130"),)
    assert result("a").changed_versions == ()
    assert LockedCheck(target="x", versions=None, words=(), cards={}).cards == {}
