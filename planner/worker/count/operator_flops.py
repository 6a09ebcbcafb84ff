"""Formulas of traced operators that fvcore has no handle for, or counts in another way.

In: inputs and outputs of an operator as values of a jit graph with known shapes. Out: a number of
multiply-adds, fvcore's unit. Convention: one multiply-add is 2 FLOPs, so a single addition,
multiplication or elementary function (exp, tanh, gelu ...) of one element is half a multiply-add.
Comparisons, copies, indexing and integer arithmetic are no FLOPs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

from planner.worker.count.contraction import contraction_multiply_adds

Values = Sequence[Any]  # torch._C.Value, which has no stubs
Handle = Callable[[Values, Values], float]

_SINGLE = 0.5  # an operation that is not fused with another, in multiply-adds
# Of a normalization, for each element: mean 1, centring 1, variance 2, scaling 1.
_NORM_FLOPS = 5
# Scale and shift; of group, layer, instance and training batch norm.
_AFFINE_FLOPS = 2
# Subtract the maximum, exponential, sum, division.
_SOFTMAX_FLOPS = 4
# For each unit and time step: sums of the two products, elementary functions, products and sums
# of the gates. LSTM: 4 + 5 + 4; GRU: 3 + 3 + 4; plain: 1 + 1.
_CELL_FLOPS = {"lstm": 13, "gru": 10, "rnn_tanh": 2, "rnn_relu": 2}


def shape(value: Any) -> tuple[int, ...] | None:
    """Returns the sizes of a tensor in the graph; None if it is no tensor."""
    return tuple(value.type().sizes()) if value.isCompleteTensor() else None


def sizes(value: Any) -> tuple[int, ...]:
    """Returns the sizes of a value that must be a tensor.

    Raises:
        ValueError: it is none, so the formula does not fit this call.
    """
    found = shape(value)
    if found is None:
        raise ValueError(f"{value.debugName()} has no known shape")
    return found


def items(value: Any) -> list[Any]:
    """Returns values of a list in the graph."""
    return list(value.node().inputs())


def is_list(value: Any) -> bool:
    """Returns whether a value is a list made in the graph."""
    return bool(value.node().kind() == "prim::ListConstruct")


def _is_float(value: Any) -> bool:
    found = value.type().dtype() if value.isCompleteTensor() else None
    return found is not None and (found.is_floating_point or found.is_complex)


def per_output(flops: float) -> Handle:
    """Counts `flops` for each element of the first output, if that is floating point."""

    def handle(inputs: Values, outputs: Values) -> float:
        output = outputs[0]
        return _SINGLE * flops * prod(sizes(output)) if _is_float(output) else 0

    return handle


def per_input(flops: float) -> Handle:
    """Counts `flops` for each element of the first input, if that is floating point."""

    def handle(inputs: Values, outputs: Values) -> float:
        first = inputs[0]
        return _SINGLE * flops * prod(sizes(first)) if _is_float(first) else 0

    return handle


def norm(affine: int) -> Handle:
    """Counts layer, group, instance norm: 5 FLOPs an element, 7 with a weight (input `affine`)."""

    def handle(inputs: Values, outputs: Values) -> float:
        flops = _NORM_FLOPS + (_AFFINE_FLOPS if shape(inputs[affine]) is not None else 0)
        return _SINGLE * flops * prod(sizes(inputs[0]))

    return handle


def batch_norm(inputs: Values, outputs: Values) -> float:
    """Counts 7 FLOPs an element in training; 2 (scale and shift) in evaluation."""
    training = inputs[5].toIValue()
    return norm(1)(inputs, outputs) if training else _SINGLE * 2 * prod(sizes(inputs[0]))


def rms_norm(inputs: Values, outputs: Values) -> float:
    """Counts 3 FLOPs an element: sum of squares 2, scaling 1; one more with a weight."""
    flops = 3 + (shape(inputs[2]) is not None)
    return _SINGLE * flops * prod(sizes(inputs[0]))


def matmul(inputs: Values, outputs: Values) -> float:
    """Counts a sum over the last dimension of the first factor for each output element."""
    return prod(sizes(outputs[0])) * sizes(inputs[0])[-1]


def added_matmul(inputs: Values, outputs: Values) -> float:
    """Counts baddbmm, addbmm, addmv: the second input times the third, added to the first."""
    left, right = sizes(inputs[1]), sizes(inputs[2])
    columns = right[-1] if len(right) > 1 else 1
    return prod(left) * columns + _SINGLE * prod(sizes(outputs[0]))


def convolution(inputs: Values, outputs: Values) -> float:
    """Counts a sum over a filter for each output element: weight is (out, in / groups, *kernel)."""
    return prod(sizes(outputs[0])) * prod(sizes(inputs[1])[1:])


def attention(inputs: Values, outputs: Values) -> float:
    """Counts softmax(Q K^T) V of Q (..., L, E), K (..., S, E), V (..., S, F), all positions.

    L x S scores for each head of Q, also where heads of K and V are shared: S (E + F)
    multiply-adds for each of the L queries, and scaling and softmax of the scores. Causal attention
    is counted in full, as by torch.utils.flop_counter.
    """
    query, key, value = (sizes(tensor) for tensor in inputs[:3])
    scores = prod(query[:-1]) * key[-2]
    return scores * (query[-1] + value[-1]) + _SINGLE * (1 + _SOFTMAX_FLOPS) * scores


def einsum(inputs: Values, outputs: Values) -> float:
    """Counts operands contracted from left to right, as torch does without a path."""
    return contraction_multiply_adds(
        str(inputs[0].toIValue()), [sizes(operand) for operand in items(inputs[1])]
    )


def tensordot(inputs: Values, outputs: Values) -> float:
    """Counts a sum over the contracted dimensions for each output element."""
    first = sizes(inputs[0])
    contracted: list[int] = [first[dimension.toIValue()] for dimension in items(inputs[2])]
    return prod(sizes(outputs[0])) * prod(contracted)


def bilinear(inputs: Values, outputs: Values) -> float:
    """Counts y_o = sum_i x_i sum_j W_oij z_j: J multiply-adds for each (o, i), and one with x_i."""
    _, first, second = sizes(inputs[2])
    return prod(sizes(outputs[0])) * first * (second + 1)


def distance(inputs: Values, outputs: Values) -> float:
    """Counts cdist: a difference and a multiply-add for each coordinate of each pair."""
    return prod(sizes(outputs[0])) * sizes(inputs[0])[-1] * (1 + _SINGLE)


def average_pool(inputs: Values, outputs: Values) -> float:
    """Counts a sum over a window for each output element."""
    window: list[int] = [size.toIValue() for size in items(inputs[1])]
    output = sizes(outputs[0])
    full = window * (len(output) - 2) if len(window) == 1 else window
    return _SINGLE * prod(output) * prod(full)


def recurrent(kind: str) -> Handle:
    """Counts nn.LSTM, nn.GRU, nn.RNN over a sequence, packed or not.

    Every matrix of every layer and direction (a projection too) multiplies each time step of each
    sample once. Biases are added, and the gates cost what _CELL_FLOPS says for each unit.
    """

    def handle(inputs: Values, outputs: Values) -> float:
        steps = prod(sizes(inputs[0])[:-1])  # time steps x batch
        position = max(index for index, value in enumerate(inputs) if is_list(value))
        weights = [sizes(value) for value in items(inputs[position])]
        state = inputs[position - 1]
        last = sizes(items(state)[-1] if is_list(state) else state)  # of an LSTM, the cell's
        units = last[0] * last[-1]  # layers and directions, and units in each
        matrices = sum(prod(weight) for weight in weights if len(weight) == 2)
        biases = sum(prod(weight) for weight in weights if len(weight) == 1)
        return steps * (matrices + _SINGLE * (biases + _CELL_FLOPS[kind] * units))

    return handle


def fused_cell(kind: str, gates: int) -> Handle:
    """Counts the gates of a cell whose products were made before: (batch, gates x units)."""

    def handle(inputs: Values, outputs: Values) -> float:
        return _SINGLE * _CELL_FLOPS[kind] * prod(sizes(inputs[0])) / gates

    return handle


def recurrent_cell(kind: str) -> Handle:
    """Counts nn.LSTMCell, nn.GRUCell, nn.RNNCell: one time step."""

    def handle(inputs: Values, outputs: Values) -> float:
        state = inputs[1]
        hidden = sizes(items(state)[0] if is_list(state) else state)
        weights = [found for value in inputs[2:] if (found := shape(value)) is not None]
        matrices = sum(prod(weight) for weight in weights if len(weight) == 2)
        biases = sum(prod(weight) for weight in weights if len(weight) == 1)
        per_sample = matrices + _SINGLE * (biases + _CELL_FLOPS[kind] * hidden[-1])
        return prod(sizes(inputs[0])[:-1]) * per_sample

    return handle
