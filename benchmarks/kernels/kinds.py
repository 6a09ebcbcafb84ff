"""The kinds of tables, in the order of the page. A new kind is a line here."""

from __future__ import annotations

from typing import Any

from benchmarks.kernels.attention.kind import ATTENTION
from benchmarks.kernels.products.kind import PRODUCTS
from benchmarks.kernels.records import Kind
from benchmarks.kernels.streams.kind import STREAMS

KINDS: tuple[Kind[Any], ...] = (PRODUCTS, ATTENTION, STREAMS)
