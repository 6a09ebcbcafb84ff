"""Computes the requests at a value in native code, in columns: what ScaledRequests.at() gives.

In: ScaledRequests. Out: PackedRequests; None where Python has to do it, because there is no native
code or a number has more than 63 bits.
"""

from __future__ import annotations

from array import array
from collections.abc import MutableMapping
from dataclasses import dataclass, replace

from planner.memory.allocator import native
from planner.memory.allocator.requests import PackedRequests, packed
from planner.memory.scaling import Layout, ScaledRequests


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedLayout:
    """A Layout in columns; `places` are its `varying`."""

    requests: PackedRequests
    places: array[int]
    columns: tuple[array[int], ...]


def packed_layout(layout: Layout) -> PackedLayout | None:
    """Packs a layout; None where a number has more than 63 bits."""
    requests = packed(layout.requests, layout.optional)
    if not isinstance(requests, PackedRequests):
        return None
    try:
        columns = tuple(array("q", column) for column in layout.sizes_bytes)
    except OverflowError:
        return None
    return PackedLayout(requests=requests, places=array("q", layout.varying), columns=columns)


def packed_at(
    scaled: ScaledRequests, value: int, known: MutableMapping[int, PackedLayout | None]
) -> PackedRequests | None:
    """Returns the requests at `value`; keeps the layouts that it has packed in `known`."""
    rule = scaled.rule_at(value)
    sample = rule.layout.value
    if sample not in known:
        known[sample] = packed_layout(rule.layout)
    layout = known[sample]
    if layout is None:
        return None
    sizes_bytes = native.scaled_sizes(
        layout.requests.sizes_bytes,
        layout.places,
        [layout.columns[index] for index in rule.columns],
        rule.weights,
        rule.whole,
    )
    return None if sizes_bytes is None else replace(layout.requests, sizes_bytes=sizes_bytes)
