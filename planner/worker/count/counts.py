"""FLOPs and activations of one forward, per module, counted by fvcore on a jit trace.

In: a model and the inputs of one call. Out: ForwardCounts. Convention: fvcore counts a multiply-add
as 1; it is doubled here and nowhere else. Activations are the elements that convolutions, matrix
products, attention and recurrent layers give out.
"""

from __future__ import annotations

import logging
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from planner.worker.count.operator_flops import Handle, Values
from planner.worker.count.operator_rules import ACTIVATIONS, flop_handles, free_operators
from planner.worker.model.tensors import map_tensors, tensors_in
from planner.worker.target.frames import text_of

with warnings.catch_warnings():
    # fvcore scripts a loss when it is imported, which torch calls deprecated.
    warnings.simplefilter("ignore")
    from fvcore.nn import (  # type: ignore[import-untyped] # it has no type hints
        ActivationCountAnalysis,
        FlopCountAnalysis,
    )
    from fvcore.nn.jit_handles import generic_activation_jit  # type: ignore[import-untyped] # same

FLOPS_PER_MULTIPLY_ADD = 2
_FLOPS, _ACTIVATIONS = "flops", "activations"
_PREFIX = "model"  # name of the user's model in the traced module


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCall:
    """The inputs of one call of a model."""

    arguments: tuple[Any, ...]
    keywords: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardCounts:
    """FLOPs and activations by module path; "" is the model. Operators without a rule by name."""

    flops: Mapping[str, int]
    activations: Mapping[str, int]
    uncounted: Mapping[str, int]


class NotTraceableError(Exception):
    """The forward cannot be traced; the message says why."""


def count_forward(model: nn.Module, call: ModelCall) -> ForwardCounts:
    """Traces the forward and adds up the costs of its operators.

    Raises:
        NotTraceableError: torch.jit cannot trace this model or these inputs.
    """
    tensors = tuple(tensor for _, tensor in tensors_in((call.arguments, dict(call.keywords))))
    if not tensors:
        raise NotTraceableError("the model is called without a tensor")
    traced = _Flat(model, call)
    analysis = _analysis(traced, tensors)
    try:
        with _quiet():
            found = _paths(analysis.by_module_and_operator())
    except Exception as error:
        text = text_of(error) or type(error).__name__
        raise NotTraceableError(text.splitlines()[0]) from error
    return ForwardCounts(
        flops={path: round(FLOPS_PER_MULTIPLY_ADD * item[_FLOPS]) for path, item in found.items()},
        activations={path: round(item[_ACTIVATIONS]) for path, item in found.items()},
        uncounted={str(name): int(calls) for name, calls in analysis.unsupported_ops().items()},
    )


def _analysis(traced: nn.Module, tensors: tuple[torch.Tensor, ...]) -> Any:
    """Counts FLOPs and activations in one trace, because tracing is most of the work."""
    flops = FlopCountAnalysis(traced, tensors).set_op_handle(**flop_handles())
    flops.set_op_handle(**dict.fromkeys(free_operators()))
    activations = ActivationCountAnalysis(traced, tensors)._op_handles
    activations |= {name: generic_activation_jit() for name in ACTIVATIONS}
    both = {
        name: _both(handle, activations.get(name)) for name, handle in flops._op_handles.items()
    }
    return flops.set_op_handle(**both)


def _both(flops: Handle, activations: Handle | None) -> Callable[[Values, Values], Counter[str]]:
    """Returns a handle that gives both counts by name, as fvcore lets handles do."""

    def handle(inputs: Values, outputs: Values) -> Counter[str]:
        counted: Counter[str] = Counter({_FLOPS: _total(flops(inputs, outputs))})
        if activations is not None:
            counted[_ACTIVATIONS] = _total(activations(inputs, outputs))
        return counted

    return handle


def _total(count: Any) -> Any:
    """Returns a count, or the sum of a handle's counts by name."""
    return sum(count.values()) if isinstance(count, Mapping) else count


class _Flat(nn.Module):
    """A model as torch.jit traces it: tensors in, a tuple of tensors out."""

    def __init__(self, model: nn.Module, call: ModelCall) -> None:
        super().__init__()
        self.add_module(_PREFIX, model)
        self._call = call
        self.training = model.training

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        given: Iterator[torch.Tensor] = iter(tensors)
        arguments, keywords = map_tensors(
            (self._call.arguments, dict(self._call.keywords)), lambda _: next(given)
        )
        output = self.get_submodule(_PREFIX)(*arguments, **keywords)
        return tuple(tensor for _, tensor in tensors_in(output))


def _paths(by_module: Mapping[str, Any]) -> dict[str, Any]:
    """Counts under the names that modules have in the user's model."""
    return {
        name.removeprefix(_PREFIX).removeprefix("."): count
        for name, count in by_module.items()
        if name == _PREFIX or name.startswith(f"{_PREFIX}.")
    }


@contextmanager
def _quiet() -> Iterator[None]:
    """Silences warnings: uncounted operators are reported, and the user did not choose to trace.

    Switches off the fast path of nn.MultiheadAttention, which is one operator without a rule, and
    autocast's cache, whose weights a trace would refuse as constants.
    """
    log = logging.getLogger("fvcore.nn.jit_analysis")
    disabled, fast = log.disabled, torch.backends.mha.get_fastpath_enabled()
    log.disabled, cached = True, torch.is_autocast_cache_enabled()
    torch.clear_autocast_cache()
    torch.set_autocast_cache_enabled(False)
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.disabled = disabled
        torch.backends.mha.set_fastpath_enabled(fast)
        torch.set_autocast_cache_enabled(cached)
