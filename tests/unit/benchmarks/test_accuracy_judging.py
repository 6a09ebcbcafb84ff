"""Verdicts, constants and statistics, against arithmetic by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.accuracy.judging import (
    judge,
    offsets,
    offsets_of,
    violations,
    without_workspaces,
)
from benchmarks.accuracy.records import Quantity, Result, Verdict
from benchmarks.accuracy.sources import SOURCES
from benchmarks.accuracy.statistics import bracket_statistics, errors_of
from benchmarks.record.rows import fitting_half
from benchmarks.record.statistics import error_statistics, quantile
from tests.unit.benchmarks.accuracy_cases import bracket, figure

H100, TRAIN, A100 = SOURCES["h100-peaks"], SOURCES["timm-train"], SOURCES["gpumemnet"]
ADAPTERS, SEVERAL = SOURCES["peft-metamath"], SOURCES["several-gpus"]


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (bracket(ran=True, fits=True), Verdict.RIGHT),
        (bracket(ran=True, fits=False), Verdict.WRONG),
        (bracket(ran=False, fits=False), Verdict.RIGHT),
        (bracket(ran=False, fits=True, fits_smaller=True), Verdict.WRONG),
        (bracket(ran=False, fits=True, fits_smaller=False), Verdict.RIGHT),
        (bracket(ran=False, fits=True, largest_elements=2**31), Verdict.LEFT_OUT),
        (bracket(ran=False, fits=False, largest_elements=2**31 - 1), Verdict.RIGHT),
    ],
    ids=["ran", "said oom", "failed", "said fits", "within tolerance", "too many elements", "many"],
)  # fmt: skip
def test_a_bracket(result: Result, expected: Verdict) -> None:
    assert judge(TRAIN, [result], frozenset())[0].verdict is expected


def test_a_figure_that_a_setting_was_chosen_on_is_not_judged() -> None:
    known = figure("llama", 1_000, 1_010, quantity=Quantity.PEAK_ACTIVE, source="several-gpus")
    chosen = replace(known, case=replace(known.case, chosen_on=True))
    judged = judge(SEVERAL, [known, chosen], frozenset())
    assert [one.verdict for one in judged] == [Verdict.WITHIN, Verdict.FITTED]
    assert errors_of(judged) == [0.01]


@pytest.mark.parametrize(
    ("quantity", "predicted", "expected"),
    [
        (Quantity.PEAK_ALLOCATED, 1_002, Verdict.WITHIN),
        (Quantity.PEAK_ALLOCATED, 1_003, Verdict.BEYOND),
        (Quantity.PEAK_RESERVED, 1_040, Verdict.WITHIN),
        (Quantity.PEAK_RESERVED, 959, Verdict.BEYOND),
    ],
)
def test_exact_figures_have_bounds(quantity: Quantity, predicted: int, expected: Verdict) -> None:
    result = figure("t5", 1_000, predicted, quantity=quantity, source="h100-peaks")
    (one,) = judge(H100, [result], frozenset())
    assert one.verdict is expected
    assert one.error == pytest.approx((predicted - 1_000) / 1_000)


@pytest.mark.parametrize(
    ("predicted", "whole", "expected"),
    [
        ((1_000_000, 1_001_999), False, []),
        ((1_000_000, 1_002_001), False, ["t1: peak allocated is off by +0.2001%, beyond 0.2%"]),
        ((1_000_150, 999_850), False, []),
        ((1_000_150, 999_850), True,
         ["the median error of peak allocated is 0.0150%, beyond 0.01%"]),
    ],
    ids=["within", "a row", "median of some", "median of all"],
)  # fmt: skip
def test_bounds_of_rows_and_of_the_median(
    predicted: tuple[int, int], whole: bool, expected: list[str]
) -> None:
    results = [
        figure("t", 1_000_000, one, quantity=Quantity.PEAK_ALLOCATED, source="h100-peaks")
        for one in predicted
    ]
    named = [
        replace(one, case=replace(one.case, name=f"t{number} peak allocated"))
        for number, one in enumerate(results)
    ]
    judged = judge(H100, named, frozenset())
    assert violations(H100, judged, whole=whole) == expected


def test_a_run_that_failed_holds_no_bound() -> None:
    failed = figure(
        "t", 1_000, None, quantity=Quantity.PEAK_RESERVED, source="h100-peaks", trouble="no torch"
    )
    (sentence,) = violations(H100, judge(H100, [failed], frozenset()), whole=False)
    assert sentence.endswith("not run: no torch")


def test_what_was_not_run_is_a_row_with_its_reason() -> None:
    (one,) = judge(A100, [figure("net", 100, None, trouble="no such model")], frozenset())
    assert (one.verdict, one.note) == (Verdict.NOT_RUN, "no such model")


def test_a_constant_is_the_median_difference_of_each_card() -> None:
    results = [
        figure("a", 110, 100),
        figure("b", 230, 200),
        figure("c", 320, 300),
        figure("d", 1_000, 500),  # not among the fitted
        figure("a", 107, 100, card="l40s"),
    ]
    assert offsets(A100, results, frozenset("abc")) == {"h100": 20, "l40s": 7}


def test_a_constant_of_peaks_is_fitted_on_half_of_the_methods() -> None:
    names = ("lora", "ia3", "oft", "vera", "boft", "miss", "full", "osf")
    fitted = fitting_half(names, ADAPTERS.half_seed)
    assert 0 < len(fitted) < len(names)
    results = [
        figure(name, 1_000 if name in fitted else 1_100, 990, quantity=Quantity.PEAK_RESERVED,
               source="peft-metamath", card="l40s")
        for name in names
    ]  # fmt: skip
    judged = judge(ADAPTERS, results, frozenset())
    assert offsets_of(ADAPTERS, judged) == {"l40s": 10}
    assert {one.verdict for one in judged} == {Verdict.FITTED, Verdict.BEYOND}
    others = [one for one in judged if one.verdict is Verdict.BEYOND]
    assert [one.error for one in others] == [pytest.approx(-100 / 1_100)] * len(others)


@pytest.mark.parametrize(
    ("source", "predicted", "expected"),
    [
        ("vramcalc", 1_005, Verdict.WITHIN),
        ("vramcalc", 994, Verdict.BEYOND),
        ("fms-mistral", 1_020, Verdict.WITHIN),
        ("fms-mistral", 1_021, Verdict.BEYOND),
    ],
)
def test_peaks_of_fine_tuning_have_bounds(source: str, predicted: int, expected: Verdict) -> None:
    quantity = Quantity.PEAK_ALLOCATED
    result = figure("lora", 1_000, predicted, quantity=quantity, source=source)
    assert judge(SOURCES[source], [result], frozenset())[0].verdict is expected


def test_the_fitted_half_is_not_judged() -> None:
    results = [figure(name, 120, 100) for name in "abcd"]
    fitted = fitting_half("abcd", A100.half_seed)
    assert 0 < len(fitted) < 4
    judged = judge(A100, results, frozenset())
    assert [one.verdict for one in judged] == [
        Verdict.FITTED if name in fitted else Verdict.WITHIN for name in "abcd"
    ]
    assert {one.predicted_bytes for one in judged} == {120}
    assert offsets_of(A100, judged) == {"h100": 20}
    found = error_statistics(errors_of(judged))
    assert found is not None
    assert (found.number, found.worst) == (4 - len(fitted), 0.0)


@pytest.mark.parametrize(
    ("built", "expected"),
    [
        (15_411_000, Verdict.WRONG),
        (15_480_000, Verdict.WRONG),  # a bias here and there
        (25_030_000, Verdict.LEFT_OUT),
        (None, Verdict.WRONG),
    ],
)
def test_a_network_that_has_changed_is_left_out(built: int | None, expected: Verdict) -> None:
    result = bracket(ran=True, fits=False)
    case = replace(result.case, parameters_millions=15.41)
    prediction = replace(result.prediction, parameters=built)
    (one,) = judge(TRAIN, [replace(result, case=case, prediction=prediction)], frozenset())
    assert one.verdict is expected


def test_a_full_card_is_left_out() -> None:
    results = [figure(name, 120, 100) for name in "abc"]
    judged = judge(A100, results, frozenset({results[0].case.name}))
    assert judged[0].verdict is Verdict.LEFT_OUT


def test_a_changed_network_moves_no_constant() -> None:
    results = [figure(name, 120, 100) for name in "abcd"]
    changed = figure("e", 500, 100)
    case = replace(changed.case, parameters_millions=1.0)
    prediction = replace(changed.prediction, parameters=2_000_000)
    results.append(replace(changed, case=case, prediction=prediction))
    judged = judge(A100, results, frozenset())
    assert judged[-1].verdict is Verdict.LEFT_OUT
    assert offsets_of(A100, judged) == {"h100": 20}


def test_a_card_without_a_constant_is_left_out() -> None:
    (one,) = judge(A100, [figure("a", 120, None)], frozenset())
    assert one.verdict is Verdict.LEFT_OUT


def test_figures_without_workspaces() -> None:
    results = [figure("a", 120, 100, without_workspaces=90), figure("b", 120, 100)]
    (other,) = without_workspaces(results)
    assert other.prediction.peak_reserved_bytes == 90


def test_a_quantile_is_one_of_the_values() -> None:
    assert quantile(range(1, 21), 0.95) == 20
    assert quantile(range(1, 21), 0.94) == 19
    assert quantile([3.0], 0.95) == 3.0
    assert quantile([1.0, 2.0], 0.95) == 2.0


def test_error_statistics() -> None:
    predicted = (1_000, 1_001, 998, 960)  # errors 0, +0.1 %, -0.2 %, -4 %
    results = [
        figure(f"n{size}", 1_000, size, quantity=Quantity.PEAK_RESERVED, source="h100-peaks")
        for size in predicted
    ]
    judged = judge(H100, results, frozenset())
    found = error_statistics(errors_of(judged))
    assert found is not None
    assert found.number == 4
    assert found.median == pytest.approx(0.0015)
    assert found.p95 == pytest.approx(0.04)
    assert found.worst == pytest.approx(-0.04)
    assert found.under_fraction == 0.5
    assert found.bias == pytest.approx(-0.001)
    assert {one.verdict for one in judged} == {Verdict.WITHIN}


def test_bracket_statistics() -> None:
    results = [
        bracket(ran=True, fits=True),
        bracket(ran=True, fits=False),
        bracket(ran=False, fits=False),
        bracket(ran=False, fits=True, fits_smaller=True),
        bracket(ran=False, fits=False, largest_elements=2**32),
    ]
    found = bracket_statistics(judge(TRAIN, results, frozenset()))
    assert found is not None
    assert (found.ran, found.ran_right, found.failed, found.failed_right) == (2, 1, 2, 1)
    assert found.right_fraction == 0.5
    assert found.under_fraction == 0.25


def test_statistics_of_nothing() -> None:
    assert error_statistics([]) is None
    assert bracket_statistics([]) is None
