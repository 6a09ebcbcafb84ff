"""Single float32 products against published times: what the rates of cards are worth."""

from __future__ import annotations

from collections import Counter

import pytest

from benchmarks.operators import Line, Row, lines, predicted_s, read_rows
from planner.hardware.database import load_gpus


@pytest.fixture(scope="module")
def found() -> dict[tuple[str, str], Line]:
    return {(line.operator, line.card): line for line in lines(read_rows())}


def test_every_row_is_a_large_product_on_a_card_of_the_database() -> None:
    rows = read_rows()
    assert len(rows) == 530
    assert set(Counter((row.operator, row.card) for row in rows).values()) == {40, 10}
    for row in rows:
        card = load_gpus().find(row.card).spec
        assert card.id == row.card
        assert row.flops > 0.05e12
        assert card.peak_flops_per_s.fp32 is not None
        assert row.flops / row.measured_s < card.peak_flops_per_s.fp32


def test_a_prediction_follows_the_shape() -> None:
    """Twice the columns are twice the work; a batch is as many products."""
    row = Row(
        operator="linear", card="v100-pcie-32gb", batch=1, m=8192, n=8192, k=8192, measured_s=1.0
    )
    wide = Row(
        operator="linear", card="v100-pcie-32gb", batch=1, m=8192, n=16384, k=8192, measured_s=1.0
    )
    assert predicted_s(wide) == pytest.approx(2 * predicted_s(row), rel=0.03)
    assert predicted_s(row) > 2 * 8192**3 / 14.1e12  # the peak


@pytest.mark.parametrize(
    ("card", "least", "most"),
    [
        ("v100-pcie-32gb", 0.9, 1.15),
        ("a100-pcie-80gb", 0.9, 1.15),
        ("a100-pcie-40gb", 0.9, 1.15),
        ("h100-sxm5-80gb", 0.9, 1.15),
        ("t4", 0.9, 1.15),
        ("p100-pcie-16gb", 0.8, 1.1),
        ("l4", 0.9, 1.15),
    ],
)
def test_linear_layers_take_what_was_measured(
    found: dict[tuple[str, str], Line], card: str, least: float, most: float
) -> None:
    assert least < found["linear", card].ratio < most


def test_batched_products_are_within_what_is_known_of_them(
    found: dict[tuple[str, str], Line],
) -> None:
    """1.2 to 1.6 on every card: their share was fitted on steps of three networks."""
    ratios = {card: line.ratio for (operator, card), line in found.items() if operator == "bmm"}
    assert len(ratios) == 7
    assert all(0.8 < ratio < 1.7 for ratio in ratios.values()), ratios
