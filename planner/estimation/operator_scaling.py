"""Computes the operators of a step at any batch, from those counted at two batches.

In: ModelCounts at two batches. Out: ModelCounts at a third; None where the two differ in more than
sizes, or where sizes follow no rule that both confirm. Convention: sizes of tensors are affine in
the batch. Figures that follow from the sizes (a product's FLOPs, the bytes of whole tensors) are
computed from them; the other figures are taken as affine themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import prod

from planner.timing.kernels import tensor_bytes
from planner.wire.module_counts import ModelCounts
from planner.wire.offload import Offloaded, OffloadedActivations
from planner.wire.trace import OperatorRecord, TensorShape

_PRODUCTS = ("mm", "addmm", "bmm", "baddbmm")


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """A step that was counted, and its batch."""

    batch_size: int
    counts: ModelCounts


class _NoRuleError(Exception):
    """A size at a batch cannot be computed from those at two others."""


def counts_at(one: Counted, other: Counted, batch_size: int) -> ModelCounts | None:
    """Returns the counts at `batch_size`, from those at two different batches.

    Fields that need no rule (parameters, warnings ...) are those of `one`. `modules` are left out.
    """
    assert one.batch_size != other.batch_size, "a line needs two points"
    line = _Line(one=one.batch_size, other=other.batch_size, at=batch_size)
    first, second = one.counts, other.counts
    sizes = first.batch_tensors_bytes, second.batch_tensors_bytes
    if len(first.operators) != len(second.operators) or len(sizes[0]) != len(sizes[1]):
        return None
    try:
        operators = tuple(
            _operator(a, b, line) for a, b in zip(first.operators, second.operators, strict=True)
        )
        return replace(
            first,
            step=replace(
                first.step,
                step_flops=_step_flops(first, second, operators, line),
                recomputed_flops=line.whole(
                    first.step.recomputed_flops, second.step.recomputed_flops
                ),
            ),
            modules=(),
            operators=operators,
            batch_tensors_bytes=tuple(line.whole(a, b) for a, b in zip(*sizes, strict=True)),
            offloaded=_offloaded(first.offloaded, second.offloaded, line),
        )
    except _NoRuleError:
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    """A line through the values at the batches `one` and `other`, read at the batch `at`."""

    one: int
    other: int
    at: int

    def whole(self, first: int, second: int) -> int:
        """Returns the value at `at`, a whole number.

        Raises:
            _NoRuleError: the value is no whole number, or negative.
        """
        rise, rest = divmod((second - first) * (self.at - self.one), self.other - self.one)
        if rest or first + rise < 0:
            raise _NoRuleError
        return first + rise

    def rounded(self, first: int, second: int) -> int:
        """Returns the value at `at`, rounded: for bytes, some of which a rule may round up."""
        rise = (second - first) * (self.at - self.one) / (self.other - self.one)
        return max(0, first + round(rise))


def _offloaded(one: Offloaded | None, other: Offloaded | None, line: _Line) -> Offloaded | None:
    """Returns what is on the host; the optimizer does not depend on the batch.

    Raises:
        _NoRuleError: another number of tensors is saved, or their sizes follow no rule.
    """
    if one is None or other is None or one.activations is None or other.activations is None:
        return one
    first, second = one.activations, other.activations
    if len(first.sizes_bytes) != len(second.sizes_bytes):
        raise _NoRuleError
    return replace(
        one,
        activations=OffloadedActivations(
            sizes_bytes=tuple(
                line.whole(a, b) for a, b in zip(first.sizes_bytes, second.sizes_bytes, strict=True)
            ),
            to_host_bytes=line.whole(first.to_host_bytes, second.to_host_bytes),
            to_card_bytes=line.whole(first.to_card_bytes, second.to_card_bytes),
        ),
    )


def _step_flops(
    one: ModelCounts, other: ModelCounts, operators: Sequence[OperatorRecord], line: _Line
) -> int:
    """Returns the FLOPs of the operators, where the step has no others; else those on the line."""
    if all(counts.step.step_flops == _total_flops(counts.operators) for counts in (one, other)):
        return _total_flops(operators)
    return line.whole(one.step.step_flops, other.step.step_flops)


def _total_flops(operators: Sequence[OperatorRecord]) -> int:
    return sum(record.total_flops for record in operators)


def _operator(one: OperatorRecord, other: OperatorRecord, line: _Line) -> OperatorRecord:
    """Returns the record at the batch of `line`.

    Raises:
        _NoRuleError: the two are not the same operator, or follow no rule.
    """
    if one == other:
        return one
    if _structure(one) != _structure(other):
        raise _NoRuleError
    inputs = _shapes(one.inputs, other.inputs, line)
    outputs = _shapes(one.outputs, other.outputs, line)
    found = replace(one, inputs=inputs, outputs=outputs)
    return replace(
        found,
        flops=_flops(one, other, found, line),
        read_bytes=_bytes(
            (one.read_bytes, one.inputs), (other.read_bytes, other.inputs), inputs, line
        ),
        written_bytes=_bytes(
            (one.written_bytes, one.outputs), (other.written_bytes, other.outputs), outputs, line
        ),
    )


def _structure(record: OperatorRecord) -> tuple[object, ...]:
    """Returns all of a record except its sizes."""
    tensors = [
        [(len(each.shape), each.dtype, each.number, each.channels_last) for each in group]
        for group in (record.inputs, record.outputs)
    ]
    return record.name, record.phase, record.stage, record.calls, record.flop_source, tensors


def _shapes(
    one: Sequence[TensorShape], other: Sequence[TensorShape], line: _Line
) -> tuple[TensorShape, ...]:
    return tuple(
        a
        if a.shape == b.shape
        else replace(
            a, shape=tuple(line.whole(x, y) for x, y in zip(a.shape, b.shape, strict=True))
        )
        for a, b in zip(one, other, strict=True)
    )


def _flops(
    one: OperatorRecord, other: OperatorRecord, found: OperatorRecord, line: _Line
) -> int | None:
    if one.flops is None or other.flops is None:
        return None
    if (one.flops, other.flops) == (_product_flops(one), _product_flops(other)):
        return _product_flops(found)
    _check_affine((*one.inputs, *one.outputs), (*other.inputs, *other.outputs))
    return line.whole(one.flops, other.flops)


def _product_flops(record: OperatorRecord) -> int | None:
    """Returns 2 m n k for a matrix product; None for any other operator."""
    if record.name.rpartition("::")[2] not in _PRODUCTS:
        return None
    left, right = record.inputs[-2:]
    return 2 * prod(left.shape) * right.shape[-1]


def _bytes(
    one: tuple[int, Sequence[TensorShape]],
    other: tuple[int, Sequence[TensorShape]],
    tensors: Sequence[TensorShape],
    line: _Line,
) -> int:
    """Returns the bytes moved: of whole tensors where they are at both batches, else on the line.

    Never more than the tensors have, where neither batch moves more: a lookup reads a table at most
    once.
    """
    (one_bytes, ones), (other_bytes, others) = one, other
    most, most_at_other = _total(ones), _total(others)
    if (one_bytes, other_bytes) == (most, most_at_other):
        return _total(tensors)
    if one_bytes == other_bytes:
        return one_bytes
    _check_affine(ones, others)
    moved = line.rounded(one_bytes, other_bytes)
    if one_bytes <= most and other_bytes <= most_at_other:
        return min(moved, _total(tensors))
    return moved


def _check_affine(one: Iterable[TensorShape], other: Iterable[TensorShape]) -> None:
    """Raises _NoRuleError where two sizes of a tensor grow: its elements then follow no line."""
    for a, b in zip(one, other, strict=True):
        if sum(x != y for x, y in zip(a.shape, b.shape, strict=True)) > 1:
            raise _NoRuleError


def _total(tensors: Iterable[TensorShape]) -> int:
    return sum(map(tensor_bytes, tensors))
