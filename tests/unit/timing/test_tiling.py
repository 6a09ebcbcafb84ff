"""Tiles and waves: never faster than the full rate, slower for more of anything."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.timing.kernels import Product
from planner.timing.tiling import product_s

RATE, PROCESSORS = 100e12, 100
sizes = st.integers(min_value=1, max_value=20_000)
products = st.builds(
    Product, batch=st.integers(min_value=1, max_value=64), m=sizes, n=sizes, k=sizes
)


@given(products)
def test_no_product_is_faster_than_the_full_rate(product: Product) -> None:
    flops = 2 * product.batch * product.m * product.n * product.k
    assert product_s(product, RATE, PROCESSORS) >= flops / RATE


@given(products, st.sampled_from(["batch", "m", "n"]))
def test_more_of_it_takes_no_less(product: Product, what: str) -> None:
    more = replace(product, **{what: getattr(product, what) + 1})
    assert product_s(more, RATE, PROCESSORS) >= product_s(product, RATE, PROCESSORS)


@given(products)
def test_rows_and_columns_may_be_exchanged(product: Product) -> None:
    turned = replace(product, m=product.n, n=product.m)
    assert product_s(turned, RATE, PROCESSORS) == product_s(product, RATE, PROCESSORS)


def test_a_large_square_product_comes_near_to_the_full_rate() -> None:
    product = Product(batch=1, m=25_600, n=12_800, k=8192)
    flops = 2 * 25_600 * 12_800 * 8192
    assert product_s(product, RATE, PROCESSORS) == pytest.approx(flops / RATE, rel=0.05)


def test_one_row_leaves_most_of_each_tile_empty() -> None:
    row = Product(batch=1, m=1, n=4096, k=4096)
    flops = 2 * 4096 * 4096
    assert product_s(row, RATE, PROCESSORS) > 5 * flops / RATE


def test_a_wave_that_is_not_full_takes_as_long_as_a_full_one() -> None:
    """Tiles of 256 x 128, a multiprocessor for each; one tile more begins a second wave."""
    full = Product(batch=100, m=256, n=128, k=128)
    tile_s = 2 * 256 * 128 * 128 / (RATE / PROCESSORS)
    assert product_s(full, RATE, PROCESSORS) >= tile_s
    assert product_s(replace(full, batch=101), RATE, PROCESSORS) > product_s(full, RATE, PROCESSORS)
