"""Rows chosen, ranked, in groups and as a grid."""

from __future__ import annotations

import pytest

from planner.errors import UsageError
from planner.sweeps.case import SweepRow
from planner.sweeps.views import chosen, column, grouped, pivoted, ranked, varied_options
from tests.unit.sweep_rows import made_row


@pytest.fixture
def rows() -> tuple[SweepRow, ...]:
    """Two targets on two cards; one does not fit, one failed."""
    return (
        made_row(2.0, 0.3, target="a", gpu="t4", batch_size=8),
        made_row(20.0, 0.1, target="a", gpu="t4", batch_size=32),
        made_row(2.5, 0.2, target="a", gpu="a100", batch_size=8),
        made_row(None, target="b", gpu="t4", batch_size=8),
        made_row(3.0, None, target="b", gpu="a100", batch_size=8, sequence_length=512),
    )


def places(rows: tuple[SweepRow, ...], all_rows: tuple[SweepRow, ...]) -> list[int]:
    return [all_rows.index(row) for row in rows]


def test_what_fits_comes_first_and_what_is_not_known_last(rows: tuple[SweepRow, ...]) -> None:
    assert places(ranked(rows, "step-time"), rows) == [2, 0, 4, 1, 3]
    assert places(ranked(rows, "peak"), rows) == [0, 2, 4, 1, 3]
    assert places(ranked(rows, "batch"), rows) == [0, 2, 4, 1, 3]


def test_more_is_better_for_some() -> None:
    few, many = (made_row(samples_per_s=number) for number in (10.0, 20.0))
    assert ranked((few, many), "throughput") == (many, few)


def test_prices_of_two_currencies_are_not_compared() -> None:
    mixed = (made_row(currency="USD"), made_row(gpu="a100", currency="EUR"))
    with pytest.raises(UsageError, match="EUR, USD, which cannot be compared"):
        ranked(mixed, "cost")
    assert ranked(mixed[:1], "cost") == mixed[:1]


def test_chosen_by_columns_and_by_options(rows: tuple[SweepRow, ...]) -> None:
    assert places(chosen(rows, ["batch=8", "gpu=A100"]), rows) == [2, 4]
    assert places(chosen(rows, ["outcome=does-not-fit"]), rows) == [1]
    assert places(chosen(rows, ["seq=512"]), rows) == [4]
    assert places(chosen(rows, []), rows) == [0, 1, 2, 3, 4]


def test_grouped(rows: tuple[SweepRow, ...]) -> None:
    found = grouped(rows, "gpu")
    assert {name: places(group, rows) for name, group in found.items()} == {
        "t4": [0, 1, 3],
        "a100": [2, 4],
    }


def test_a_grid(rows: tuple[SweepRow, ...]) -> None:
    grid = pivoted(chosen(rows, ["batch=8"]), "target,gpu,peak")
    assert (grid.names_down, grid.names_across) == (("a", "b"), ("t4", "a100"))
    assert [[row and rows.index(row) for row in line] for line in grid.rows] == [[0, 2], [3, 4]]
    grid = pivoted(rows[2:4], "target, gpu, step-time")
    assert grid.rows == ((rows[2], None), (None, rows[3]))


def test_a_cell_of_several_rows_is_refused(rows: tuple[SweepRow, ...]) -> None:
    with pytest.raises(UsageError, match="a and t4 have several rows, which differ in batch_size"):
        pivoted(rows, "target,gpu,peak")
    with pytest.raises(UsageError, match="must be three columns"):
        pivoted(rows, "target,gpu")


def test_options_that_vary(rows: tuple[SweepRow, ...]) -> None:
    assert varied_options(rows) == ("sequence_length",)
    assert varied_options(rows[:3]) == ()


def test_names_of_columns() -> None:
    assert column("step-time") == "step_s"
    assert column("Largest-Batch") == "max_batch_size"
    assert column("seq") == "sequence_length"
    with pytest.raises(UsageError, match="'peek' is no column of a sweep; did you mean peak"):
        column("peek")
