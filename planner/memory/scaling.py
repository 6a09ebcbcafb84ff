"""Scales a few recorded runs to every batch: request sizes follow a line or a parabola.

In: the requests of the same step at two or more values of an axis, the batch or the sequence
length. Out: ScaledRequests, or why there are none. Convention: a step makes the same requests at
every value, and each size is a polynomial in it. Scratch (memory that is given back before the next
request) is no part of that rule: libraries choose it anew for each size of a problem.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import lcm, prod
from typing import overload

from planner.memory.allocator.requests import Request
from planner.memory.sample_parts import Mismatch as Mismatch
from planner.memory.sample_parts import Sample as Sample
from planner.memory.sample_parts import SampleParts
from planner.wire.trace import EventKind

_ALLOC = EventKind.ALLOC  # a lookup in an Enum takes long

# A batch of 1 gives tensors other strides, hence other requests: it does not follow the rule of
# larger batches, and no rule is learnt from it.
FIRST_ALIKE = 2
_NEAR = 32  # the scratch of a sample is taken to hold up to 1/32 away from it


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """The requests at one value; a free has no size.

    `optional` are blocks that the program can do without: a library without workspace uses
    another algorithm.
    """

    requests: tuple[Request, ...]
    optional: frozenset[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The requests of one sample.

    `varying` are the indices of those whose size differs between samples; `sizes_bytes` has a
    column for each sample, with their sizes there.
    """

    value: int
    requests: tuple[Request, ...]
    varying: tuple[int, ...]
    sizes_bytes: tuple[tuple[int, ...], ...]
    optional: frozenset[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeRule:
    """Sizes at one value: the weighted sum of columns of the layout, divided by `whole`."""

    layout: Layout
    columns: tuple[int, ...]  # indices into Layout.sizes_bytes
    weights: tuple[int, ...]  # one for each column
    whole: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaledRequests:
    """Requests of one step for any value; made by `fit`. A size is rounded up to whole bytes."""

    degree: int
    values: tuple[int, ...]  # of the samples, rising
    layouts: Sequence[Layout]  # one for each value
    has_scratch_of_its_own: bool  # scratch without a rule: far from the samples it is a guess
    samples: tuple[Sample, ...] = field(default=(), compare=False)  # that they come from

    @property
    def is_constant(self) -> bool:
        """Returns whether no size depends on the value."""
        return not self.layouts[0].varying

    def at(self, value: int) -> Prediction:
        """Returns the requests at `value`, with the order and scratch of the nearest sample."""
        rule = self.rule_at(value)
        layout = rule.layout
        columns = [layout.sizes_bytes[index] for index in rule.columns]
        sizes = _mixed(columns, rule.weights, rule.whole)
        requests = list(layout.requests)
        for index, size in zip(layout.varying, sizes, strict=True):
            _, block, _, stream = requests[index]
            requests[index] = Request(_ALLOC, block, size if size > 0 else 0, stream)
        return Prediction(requests=tuple(requests), optional=layout.optional)

    def rule_at(self, value: int) -> SizeRule:
        """Returns the way from the samples to the sizes at `value`."""
        chosen = self._nearest(value)
        weights, whole = _weights([self.values[index] for index in chosen], value)
        nearest = min(chosen, key=lambda index: _distance(self.values[index], value))
        return SizeRule(
            layout=self.layouts[nearest],
            columns=tuple(chosen),
            weights=tuple(weights),
            whole=whole,
        )

    def holds_at(self, value: int) -> bool:
        """Returns whether the requests at `value` are known: elsewhere resnet50 was 14 % off."""
        if value < FIRST_ALIKE <= self.values[0]:
            return False
        return not self.has_scratch_of_its_own or is_near(value, self.values)

    def _nearest(self, value: int) -> list[int]:
        """Returns indices of the samples for the polynomial, around `value` if possible."""
        values = self.values
        count = self.degree + 1
        begin = bisect_left(values, value) - count // 2
        begin = max(0, min(begin, len(values) - count))
        return list(range(begin, begin + count))


def is_near(value: int, samples: Iterable[int]) -> bool:
    """Returns whether the scratch of a sample holds at `value`."""
    return any(abs(value - sample) * _NEAR <= value for sample in samples)


def fit(samples: Sequence[Sample], degree: int = 1) -> ScaledRequests | Mismatch:
    """Fits polynomials of `degree` through the samples; a Mismatch where their requests differ.

    With more than `degree` + 1 samples, those nearest to a value are used there.
    """
    return fit_parts([SampleParts(sample) for sample in samples], degree)


def fit_parts(samples: Iterable[SampleParts], degree: int) -> ScaledRequests | Mismatch:
    """Does what fit() does, with samples that are taken apart already."""
    parts = sorted(samples, key=lambda sample: sample.value)
    assert len(parts) > degree, "a polynomial needs one sample more than its degree"
    assert all(a.value < b.value for a, b in pairwise(parts)), "samples at different values"
    for other in parts[1:]:
        mismatch = parts[0].compared(other)
        if mismatch is not None:
            return mismatch
    places = {place for part in parts for place in part.scratch}
    ruled = _ruled_scratch(parts, degree)
    return ScaledRequests(
        degree=degree,
        values=tuple(part.value for part in parts),
        layouts=_Layouts(parts, ruled),
        has_scratch_of_its_own=ruled != places,
        samples=tuple(part.sample for part in parts),
    )


def _ruled_scratch(parts: Sequence[SampleParts], degree: int) -> set[int]:
    """Returns the places at which scratch grows as other memory: a fixed and a growing part."""
    ruled = set()
    for place, sizes in parts[0].scratch.items():
        every = [part.scratch.get(place, []) for part in parts]
        if all(len(other) == len(sizes) for other in every) and all(
            small <= large and small * two.value**degree >= large * one.value**degree
            for (one, lower), (two, upper) in pairwise(zip(parts, every, strict=True))
            for small, large in zip(lower, upper, strict=True)
        ):
            ruled.add(place)
    return ruled


class _Layouts(Sequence[Layout]):
    """The layouts of samples, each made when it is first asked for: a search needs few of them."""

    def __init__(self, parts: Sequence[SampleParts], ruled: set[int]) -> None:
        self._parts, self._ruled = parts, ruled
        self._libraries = {
            part.place[block][0]
            for part in parts
            for block in part.workspaces
            if block in part.place
        }
        self._lasting = list(zip(*(part.sizes for part in parts), strict=True))  # of every sample
        self._made: dict[int, Layout] = {}

    def __len__(self) -> int:
        return len(self._parts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Layouts) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]  # as a list

    @overload
    def __getitem__(self, index: int) -> Layout: ...
    @overload
    def __getitem__(self, index: slice) -> list[Layout]: ...
    def __getitem__(self, index: int | slice) -> Layout | list[Layout]:
        if isinstance(index, slice):
            return [self[one] for one in range(len(self))[index]]
        found = self._made.get(index)
        if found is None:
            own = self._parts[index]
            found = self._made[index] = _layout(
                own, self._parts, self._ruled, self._libraries, self._lasting
            )
        return found


def _layout(
    own: SampleParts,
    parts: Sequence[SampleParts],
    ruled: set[int],
    libraries: set[int],
    lasting: Sequence[tuple[int, ...]],
) -> Layout:
    optional = set()
    requests = list(own.requests)
    varying: list[int] = []
    rows: list[tuple[int, ...]] = []
    for at, (kind, block, size_bytes, stream) in enumerate(own.requests):
        if kind is not _ALLOC:
            if size_bytes:
                requests[at] = Request(kind, block, 0, stream)
            continue
        if block in own.place:
            place, which = own.place[block]
            sizes = tuple(part.scratch[place][which] for part in parts) if place in ruled else ()
            if place in libraries:
                optional.add(block)
        else:
            sizes = lasting[own.number(block)]
        if sizes.count(size_bytes) != len(sizes):
            varying.append(at)
            rows.append(sizes)
    return Layout(
        value=own.value,
        requests=tuple(requests),
        varying=tuple(varying),
        sizes_bytes=tuple(zip(*rows, strict=True)) if rows else ((),) * len(parts),
        optional=frozenset(optional),
    )


def _weights(points: Sequence[int], value: int) -> tuple[list[int], int]:
    """Returns Lagrange's weights at `value`, as whole numbers over a common denominator."""
    parts = [
        (
            prod(value - other for other in points if other != point),
            prod(point - other for other in points if other != point),
        )
        for point in points
    ]
    whole = lcm(*(below for _, below in parts))
    return [above * (whole // below) for above, below in parts], whole


def _mixed(columns: Sequence[Sequence[int]], weights: Sequence[int], whole: int) -> list[int]:
    """Returns the weighted sum of each row, divided by `whole` and rounded up."""
    if len(columns) == 2:  # twice as fast, and used for every batch
        low, high = weights
        one, two = columns
        return [-(-(low * a + high * b) // whole) for a, b in zip(one, two, strict=True)]
    return [
        -(-sum(weight * size for weight, size in zip(weights, row, strict=True)) // whole)
        for row in zip(*columns, strict=True)
    ]


def _distance(one: int, other: int) -> float:
    return max(one, other) / max(1, min(one, other))
