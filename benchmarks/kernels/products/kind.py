"""Matrix products as a kind of table."""

from __future__ import annotations

from benchmarks.kernels.products.judging import NAME, Tables, fit, judge, read
from benchmarks.kernels.records import Kind
from planner.timing.measured.products import FILE

PRODUCTS: Kind[Tables] = Kind(
    name=NAME, title="Matrix products", file=FILE, read=read, fit=fit, judge=judge
)
