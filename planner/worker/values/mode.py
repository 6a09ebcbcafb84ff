"""The dispatch mode of a values pass: keeps known values, draws needed ones, forgets the rest.

In: every operator of the run. Out: values on storages (twins.py), and answers to reads by way of
AnsweringReads. Convention: the emulated operator always runs, so that the program sees tensors of
the card as in any pass; only torch's reads from the card differ from the other passes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from planner.config.step import DataDependent
from planner.worker.engines import emulation
from planner.worker.model.tensors import is_float
from planner.worker.ranks import dtensors
from planner.worker.values import comparing, sparse, twins
from planner.worker.values.answers import Call
from planner.worker.values.at_most import at_most
from planner.worker.values.drawing import Drawing
from planner.worker.values.hidden_reads import MASK_DTYPES
from planner.worker.values.operators import is_keepable, on_host
from planner.worker.values.reader import AnsweringReads
from planner.worker.values.rules import Rule, rule_of, tensors
from planner.worker.values.sizes import FixedSizes

_COMPOSITE = torch._C.DispatchKey.CompositeImplicitAutograd


class ValuesMode(TorchDispatchMode):  # type: ignore[no-untyped-call] # untyped in torch
    """Entered for a whole run, from the building of the model on."""

    supports_higher_order_operators = True

    def __init__(
        self,
        reads: AnsweringReads,
        drawing: Drawing,
        *,
        data_dependent: DataDependent = DataDependent.TYPICAL,
        sizes: FixedSizes | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # untyped in torch
        self._reads = reads
        self._drawing = drawing
        self._most = data_dependent is DataDependent.MOST
        self._sizes = sizes or FixedSizes({})
        self._rules: dict[Any, Rule] = {}

    @classmethod
    def is_infra_mode(cls) -> bool:
        """Returns True: otherwise torch.compile would skip every frame while a mode is active."""
        return True

    @classmethod
    def ignore_compile_internals(cls) -> bool:
        """Returns True, for the same reason."""
        return True

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Runs an operator and keeps its values; torch calls this for every operator."""
        kwargs = kwargs or {}
        if not isinstance(func, torch._ops.OpOverload):
            return func(*args, **kwargs)  # a control-flow operator: what is in it comes by itself
        if types and not all(map(twins.is_ordinary, types)):
            if dtensors.are_shapes_alone(types):
                return func(*args, **kwargs)
            return NotImplemented  # a subclass takes itself apart first
        rule = self._rules.get(func)
        if rule is None:
            rule = self._rules[func] = rule_of(func)
        if rule.is_composite:  # below autograd, in inference alone
            with self:
                return func._op_dk(_COMPOSITE, *args, **kwargs)
        if rule.is_view:
            return func(*args, **kwargs)  # the same storage: its known values stay true
        found = _plain(args, kwargs)
        if not found and not _is_on_card(kwargs.get("device")):
            return self._unseen(rule, func, args, kwargs)
        if rule.needs:
            self._draw(rule, args)
        elif rule.is_copy and found and _goes_to_host(args, kwargs):
            self._drawing.make_known(found[0])
        if self._sizes:
            self._sizes.apply(rule.name, args, self._reads, self._drawing)
        self._reads.call = Call(rule.name, args, found, at_most=self._most)
        try:
            out = func(*args, **kwargs)
        finally:
            self._reads.call = None
        if rule.is_plain and any(twins.twin_of(tensor) is None for tensor in found):
            return out  # of something unknown, into new storages
        if not rule.keeps:
            self._settle(rule, func, args, kwargs, found, out)
        return out

    def _unseen(self, rule: Rule, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Runs an operator of the host, or of a sparse tensor, whose places may be known."""
        if rule.name not in sparse.OPERATORS or not args[0].is_cuda:
            return func(*args, **kwargs)
        self._reads.call = Call(rule.name, args, [])
        try:
            out = func(*args, **kwargs)
        finally:
            self._reads.call = None
        sparse.learn_places(rule.name, args[0], out)
        return out

    def _draw(self, rule: Rule, args: tuple[Any, ...]) -> None:
        if rule.is_comparison and comparing.is_certain(rule.name, args):
            return
        for position in rule.needs:
            for tensor in tensors(args[position] if position < len(args) else None):
                if not twins.is_plain(tensor) or twins.value_of(tensor) is not None:
                    continue
                if rule.only_masks and tensor.dtype not in MASK_DTYPES:
                    continue
                self._drawing.make_known(tensor)

    def _settle(
        self,
        rule: Rule,
        func: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        found: list[torch.Tensor],
        out: Any,
    ) -> None:
        outs = [t for t in tensors((out,)) if twins.is_plain(t)]
        written = rule.written(args, kwargs) if rule.has_written else []
        if rule.blank:
            for tensor in outs:
                twins.forget(tensor) if written else twins.leave_blank(tensor)
        elif rule.is_lift:
            self._learn_sent(outs)
        elif rule.finite is not None and not all(twins.value_of(t) is not None for t in found):
            is_guess = not all(map(comparing.is_finite, found))
            _learn_all(outs, [torch.full(outs[0].shape, rule.finite)] if outs else [], is_guess)
        elif rule.is_comparison and (sure := comparing.certain(rule.name, args)) is not None:
            _learn_all(outs, [torch.full(outs[0].shape, sure)] if outs else [], False)
        elif not self._computed(rule, func, args, kwargs, found, written, outs, out):
            for tensor in written:
                if twins.is_plain(tensor):
                    twins.forget(tensor)
            if rule.centred:
                for tensor in outs:
                    twins.noted(tensor).centred = True
            if comparing.puts_infinities((*args, *kwargs.values())):
                for tensor in outs:
                    twins.noted(tensor).infinite = True

    def _computed(
        self,
        rule: Rule,
        func: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        found: list[torch.Tensor],
        written: list[torch.Tensor],
        outs: list[torch.Tensor],
        out: Any,
    ) -> bool:
        """Runs the operator on the host if all its inputs are known; returns whether it did."""
        overwritten = _overwritten(rule, kwargs, written)
        if rule.is_copy and _is_dropped(args, kwargs, (*outs, *written)):
            return False
        own = {id(tensor) for tensor in overwritten}
        if not rule.on_host or not (outs or written):
            return False
        if not all(id(t) in own or twins.value_of(t) is not None for t in found):
            return False
        if not is_keepable(outs):
            return False

        def value_of(tensor: torch.Tensor) -> torch.Tensor | None:
            return twins.writable(tensor) if id(tensor) in own else twins.value_of(tensor)

        drawn = rule.is_random or any(
            (twin := twins.twin_of(t)) is not None and twin.is_drawn
            for t in found
            if id(t) not in own
        )
        is_test = rule.finite is not None or comparing.asks_for_finiteness(rule.name, args)
        if is_test and all(map(comparing.is_finite, found)):
            drawn = False
        value = on_host(rule, func, args, kwargs, value_of, self._drawing.generator)
        if value is None:
            return False
        if self._most and drawn:
            most = at_most(rule.name, args, kwargs, value)
            if written and isinstance(value, torch.Tensor):
                value.copy_(most)  # it is the value that was written in place
            else:
                value = most
        inputs = {t.untyped_storage()._cdata for t in found}
        for tensor in written:
            if twins.is_plain(tensor) and (twin := twins.twin_of(tensor)) is not None:
                covered = id(tensor) in own and twins.covers_storage(tensor)
                twin.assumed = drawn or (twin.assumed and not covered)
                twin.centred = False
                twin.views.clear()
        fresh = [
            (tensor, one)
            for tensor, one in _pairs(out, value)
            if tensor.untyped_storage()._cdata not in inputs
        ]
        _learn_all([tensor for tensor, _ in fresh], [one for _, one in fresh], drawn)
        return True

    def _learn_sent(self, outs: list[torch.Tensor]) -> None:
        """Learns from the device's copies: torch.tensor(..., device="cuda") shows no operator."""
        for tensor in outs:
            size_bytes = tensor.numel() * tensor.element_size()
            if twins.value_of(tensor) is not None or not size_bytes:
                continue
            content = emulation.sent(tensor.data_ptr(), size_bytes)
            if content is not None and tensor.is_contiguous():
                whole = torch.frombuffer(bytearray(content), dtype=tensor.dtype)
                twins.learn(tensor, whole.view(tensor.shape), assumed=False)


def _learn_all(outs: list[torch.Tensor], values: list[torch.Tensor], drawn: bool) -> None:
    for tensor, value in zip(outs, values, strict=True):
        if tensor.shape == value.shape:
            if not twins.is_known(tensor):
                twins.leave_blank(tensor)  # a new storage; no tensor has the bytes behind its end
            twins.learn(tensor, value, assumed=drawn)
        else:
            twins.forget(tensor)  # torch made it by a read that is not foreseen


def _pairs(out: Any, value: Any) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yields tensors on the card with their values; skips results that only the CPU gives."""
    if isinstance(out, torch.Tensor):
        if isinstance(value, torch.Tensor) and twins.is_plain(out):
            yield out, value
    elif isinstance(out, (tuple, list)) and isinstance(value, (tuple, list)):
        for one, other in zip(out, value, strict=False):
            yield from _pairs(one, other)


def _overwritten(
    rule: Rule, kwargs: dict[str, Any], written: list[torch.Tensor]
) -> list[torch.Tensor]:
    """Returns tensors whose old values do not matter: targets of a fill or `out=`, new memory."""
    if rule.is_fill:
        return written
    named = [t for name, value in kwargs.items() if name.startswith("out") for t in tensors(value)]
    own = {id(tensor) for tensor in named}
    return [t for t in written if id(t) in own or (twins.is_plain(t) and twins.is_blank(t))]


def _is_dropped(
    args: tuple[Any, ...], kwargs: dict[str, Any], arrived: tuple[torch.Tensor, ...]
) -> bool:
    """Returns whether a copy brings numbers to the card that are not kept.

    What arrives as a mask or as indices is kept, whatever it was on the host.
    """
    if not any(is_float(tensor.dtype) for tensor in arrived):
        return False
    return not all(map(twins.is_kept_when_sent, _sent(args, kwargs)))


def _sent(args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[torch.Tensor]:
    """Returns the host tensor that a copy brings to the card; none for another copy."""
    source = args[1] if len(args) > 1 and isinstance(args[1], torch.Tensor) else args[0]
    if source.is_cuda or _goes_to_host(args, kwargs):
        return []
    return [source]


def _plain(args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[torch.Tensor]:
    """Returns the tensors on the card among the arguments, one level deep in lists."""
    found = []
    for value in (*args, *kwargs.values()) if kwargs else args:
        if isinstance(value, torch.Tensor):
            if twins.is_plain(value):
                found.append(value)
        elif isinstance(value, (list, tuple)):
            found += [one for one in value if twins.is_plain(one)]
    return found


def _is_on_card(device: Any) -> bool:
    return device is not None and torch.device(device).type == "cuda"


def _goes_to_host(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    device = kwargs.get("device")
    if device is not None:
        return torch.device(device).type == "cpu"
    return bool(args) and isinstance(args[0], torch.Tensor) and args[0].device.type == "cpu"
