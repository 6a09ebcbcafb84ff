"""FLOPs of one call of an operator, from its arguments and its result.

In: an operator. Out: its formula. Convention: the formulas of torch.utils.flop_counter (matrix
products, convolutions, attention), and a few more where it has none or another, see _OWN.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import prod
from typing import Any

import torch

Formula = Callable[..., int]

_ATEN: Any = torch.ops.aten
_TRITON = "triton"
_WEIGHTS_WITH_BIASES = 4


@contextmanager
def _without_triton() -> Iterator[None]:
    """Prevents triton's import: flop_counter needs it only for the user's own Triton formulas."""
    log = logging.getLogger("torch.utils.flop_counter")
    if _TRITON in sys.modules:
        yield
        return
    disabled, log.disabled = log.disabled, True  # it would warn that triton is not there
    sys.modules[_TRITON] = None  # type: ignore[assignment] # documented: its import fails
    try:
        yield
    finally:
        del sys.modules[_TRITON]
        log.disabled = disabled


with _without_triton():
    from torch.utils.flop_counter import flop_registry


def _convolution_backward_flops(
    grad_output: Any, input: Any, weight: Any, *rest: Any, **_: Any
) -> int:
    """Returns the FLOPs of the forward for each requested gradient (input, weight).

    The formula of torch.utils.flop_counter leaves groups out of account: a depthwise convolution
    with 512 channels would cost 512 times as much in backward as in forward.
    """
    transposed, output_mask = rest[4], rest[7]
    positions = input if transposed else grad_output
    forward = 2 * positions.numel() * prod(weight.shape[1:])
    return int(forward * sum(output_mask[:2]))


def _cudnn_rnn_flops(input: Any, weight: Any, weight_stride0: int, *_: Any, **__: Any) -> int:
    """Returns 2 FLOPs per weight of each matrix, for each time step of each sample.

    `weight_stride0` tensors belong together: two matrices, two biases where there are any, and the
    matrix of a projection. Under autocast all have two dimensions, the second of them 1.
    """
    biases = (2, 3) if weight_stride0 >= _WEIGHTS_WITH_BIASES else ()
    matrices = sum(
        tensor.numel()
        for position, tensor in enumerate(weight)
        if position % weight_stride0 not in biases
    )
    return int(2 * prod(input.shape[:-1]) * matrices)


def _cudnn_rnn_backward_flops(
    input: Any, weight: Any, weight_stride0: int, *_: Any, **__: Any
) -> int:
    """Returns twice the FLOPs of the forward: gradients of the input and of the weights."""
    return 2 * _cudnn_rnn_flops(input, weight, weight_stride0)


def _grouped_matmul_flops(left: Any, right: Any, *_: Any, **__: Any) -> int:
    """Counts rows (T, K) times one matrix of (E, K, N) each, or groups of (K, T) times (T, N)."""
    return int(2 * left.numel() * right.shape[-1])


_OWN: dict[Any, Formula] = {
    _ATEN.convolution_backward: _convolution_backward_flops,
    _ATEN._cudnn_rnn: _cudnn_rnn_flops,
    _ATEN._cudnn_rnn_backward: _cudnn_rnn_backward_flops,
}
if hasattr(_ATEN, "_grouped_mm"):  # from torch 2.8 on
    _OWN[_ATEN._grouped_mm] = _grouped_matmul_flops


def has_formula(func: Any) -> bool:
    """Returns whether FLOPs of the operator overload `func` can be counted."""
    packet = func._overloadpacket
    return packet in _OWN or packet in flop_registry


def call_flops(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> int:
    """Returns the FLOPs of one call; `func` must have a formula."""
    packet = func._overloadpacket
    if packet in _OWN:
        return _OWN[packet](*args, **kwargs)
    return int(flop_registry[packet](*args, **kwargs, out_val=out))
