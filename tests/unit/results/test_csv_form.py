"""Records as CSV: quoting, what is unknown, truth, ranges."""

from __future__ import annotations

import csv
import io

import pytest

from planner.results.csv_form import csv_text, ends


def test_cells() -> None:
    text = csv_text(("a", "b", "c"), [{"a": None, "b": True, "c": 0.1}, {"c": 1, "b": "x", "a": 2}])
    assert text == "a,b,c\n,true,0.1\n2,x,1\n"


@pytest.mark.parametrize("value", ["a,b", 'say "so"', "two\nlines", " blanks "])
def test_any_text_comes_back(value: str) -> None:
    (row,) = csv.DictReader(io.StringIO(csv_text(("text",), [{"text": value}])))
    assert row == {"text": value}


def test_a_range_is_two_columns() -> None:
    assert ends("kwh", (1.0, 2.0)) == {"kwh_low": 1.0, "kwh_high": 2.0}
    assert ends("kwh", None) == {"kwh_low": None, "kwh_high": None}


def test_every_row_has_every_column() -> None:
    with pytest.raises(AssertionError):
        csv_text(("a", "b"), [{"a": 1}])
