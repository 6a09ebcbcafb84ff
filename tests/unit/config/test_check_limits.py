"""Limits of a check: units are required, amounts are exact."""

from __future__ import annotations

import pytest

from planner.config.limits import LIMIT_WORDS, LimitKind, LimitUnit, parse_limits
from planner.errors import UsageError
from planner.units import GIB, MIB


@pytest.mark.parametrize(
    ("name", "value", "amount", "unit"),
    [
        ("max-peak", "20 GiB", 20 * GIB, LimitUnit.BYTES),
        ("max-peak", "1.5GB", 1.5 * GIB, LimitUnit.BYTES),
        ("min-margin", "500 MiB", 500 * MIB, LimitUnit.BYTES),
        ("min-margin", "5 %", 0.05, LimitUnit.SHARE),
        ("min-largest-batch", 64, 64, LimitUnit.SAMPLES),
        ("min-largest-batch", "64", 64, LimitUnit.SAMPLES),
        ("max-step-time", "120 ms", 0.12, LimitUnit.SECONDS),
        ("max-step-time", "850us", 0.00085, LimitUnit.SECONDS),
        ("max-step-time", "2 min", 120, LimitUnit.SECONDS),
        ("max-cost", "30 USD/epoch", 30, LimitUnit.PER_EPOCH),
        ("max-cost", "0.5 eur per 1M samples", 0.5, LimitUnit.PER_MILLION),
        ("max-growth", "0%", 0, LimitUnit.SHARE),
        ("max-growth", "200 MiB", 200 * MIB, LimitUnit.BYTES),
    ],
)
def test_amounts_are_those_of_the_words(
    name: str, value: object, amount: float, unit: LimitUnit
) -> None:
    (limit,) = parse_limits({name: value}).limits
    assert (limit.kind, limit.amount, limit.unit) == (LimitKind(name), pytest.approx(amount), unit)
    assert limit.text == str(value)
    assert (limit.currency is not None) == (name == "max-cost")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("max-peak", 20, "max-peak 20 has no unit: write it like 20 GiB"),
        ("max-peak", "20", "max-peak 20 has no unit"),
        ("max-peak", 1.5, "has no unit"),
        ("max-peak", "5 %", "max-peak: '5 %' is not a size"),
        ("max-peak", True, "must be text with a unit, not True"),
        ("max-peak", ["1 GiB"], "must be text with a unit"),
        ("min-margin", 1, "has no unit"),
        ("min-margin", "-5 %", "is not a percentage"),
        ("min-margin", "much", "is not a size"),
        ("min-largest-batch", 0, "a whole number of samples from 1, not 0"),
        ("min-largest-batch", 1.5, "a whole number of samples"),
        ("min-largest-batch", True, "not True"),
        ("max-step-time", "120", "'120' is not a time with a unit"),
        ("max-step-time", 0.1, "'0.1' is not a time with a unit"),
        ("max-step-time", "0 ms", "is not a time with a unit"),
        ("max-cost", "30", "write it like 30 USD/epoch or 1.20 USD/1M samples"),
        ("max-cost", "30 USD", "what it is for"),
        ("max-growth", "5", "has no unit"),
        ("max-speed", "5", "there is no limit 'max-speed'; these are max-peak"),
        ("strict", "yes", "strict must be true or false"),
    ],
)
def test_a_limit_without_a_unit_or_a_meaning_is_refused(
    name: str, value: object, said: str
) -> None:
    with pytest.raises(UsageError) as error:
        parse_limits({name: value})
    assert said in str(error.value)


def test_limits_are_in_one_order_and_strict_is_apart() -> None:
    found = parse_limits({"strict": True, "max-growth": "5 %", "max-peak": "1 GiB"})
    assert [limit.kind.value for limit in found.limits] == ["max-peak", "max-growth"]
    assert found.strict
    assert not found.need_largest_batch
    assert parse_limits({"min-largest-batch": 1}).need_largest_batch
    assert "fits" not in LIMIT_WORDS
