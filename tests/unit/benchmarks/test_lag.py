"""The rows of the benchmark of lags, by hand."""

from __future__ import annotations

from benchmarks.lag.__main__ import quotient_row, row
from benchmarks.lag.cases import CASES, LIMITED, UNLIMITED
from planner.units import GIB


def test_a_row_is_predicted_over_published() -> None:
    case = next(case for case in CASES if case.name == "fsdp1-full")
    found = {"active": round(1.01 * 23.579 * GIB), "reserved": 32 * GIB, "events_pending": 1}
    assert row(case, found) == ("fsdp1-full", "23.815", "32.000", "1.0100", "0.9956", "yes")


def test_of_lora_the_quotient_is_compared() -> None:
    """Published: 25.86 / 20.20 = 1.2802 and 32.67 / 27.36 = 1.1941."""
    limited = {"active": 10 * GIB, "reserved": 20 * GIB}
    unlimited = {"active": 13 * GIB, "reserved": 20 * GIB}
    assert quotient_row(unlimited, limited) == (
        f"{UNLIMITED} / {LIMITED}", "x 1.300", "x 1.000", "1.0155", "0.8375", "",
    )  # fmt: skip


def test_what_judges_the_lag_does_not_choose_it() -> None:
    assert {case.name for case in CASES if not case.chooses} == {
        "fsdp1-selective", "fsdp2-full", "fsdp2-selective",
    }  # fmt: skip
