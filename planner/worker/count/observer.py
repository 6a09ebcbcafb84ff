"""Watches operators as they are called: their costs, by module and by phase of the step.

In: code that runs within the contexts. Out: sums by module path, operator records, bytes that
autograd keeps. Convention: a sum is of the module itself, without its submodules.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from planner.wire.trace import Issuer, OperatorRecord, Phase
from planner.worker.count.call_flops import has_formula
from planner.worker.count.generated_kernels import call_of
from planner.worker.count.module_path import ModulePath
from planner.worker.count.operator_calls import (
    OperatorCall,
    OperatorCosts,
    Place,
    RecordedCalls,
    recorded_calls,
)
from planner.worker.engines.kernel_launches import heard, in_compiled_code
from planner.worker.ranks import dtensors


@dataclass(slots=True)
class Tally:
    """Sums by module path; of operators without a formula, the calls by name."""

    flops: Counter[str] = field(default_factory=Counter)
    read_bytes: Counter[str] = field(default_factory=Counter)
    written_bytes: Counter[str] = field(default_factory=Counter)
    without_formula: Counter[str] = field(default_factory=Counter)

    @property
    def total_flops(self) -> int:
        """FLOPs of every operator seen."""
        return sum(self.flops.values())

    def add(self, path: str, call: OperatorCall) -> None:
        """Adds one call while the module at `path` ran."""
        self.read_bytes[path] += call.read_bytes
        self.written_bytes[path] += call.written_bytes
        if call.flops is not None:
            self.flops[path] += call.flops
        elif call.computes:
            self.without_formula[call.name] += 1


_COMPOSITE = torch._C.DispatchKey.CompositeImplicitAutograd
_CARD = torch._C.DispatchKey.CUDA


def _is_composite(func: Any) -> bool:
    """Returns whether an operator is made of others (below autograd, only in inference).

    An operator that also has a kernel of the card (silu_backward) is not. func.decompose() is not
    used: it would take Python's replacement where a kernel exists.
    """
    has_kernel = torch._C._dispatch_has_kernel_for_dispatch_key
    return has_kernel(func.name(), _COMPOSITE) and not has_kernel(func.name(), _CARD)


class OperatorObserver(TorchDispatchMode):  # type: ignore[no-untyped-call] # untyped in torch
    """Adds up what operators cost while it is entered.

    Every call goes to `tally`, where there is one, and those in a `phase` into records as well;
    both may be changed at any time.
    """

    def __init__(self, path: ModulePath, launches: Callable[[], int] = lambda: 0) -> None:
        """`launches` returns how many kernels this process has launched so far."""
        super().__init__()  # type: ignore[no-untyped-call] # untyped in torch
        self._launches = launches
        self.tally: Tally | None = None
        self._phase: Phase | None = None
        self._path = path
        self._costs = OperatorCosts()
        self._stage = ""
        self._place: Place | None = None
        self._calls: list[tuple[Place, OperatorCall]] = []
        self._iterations: list[int] = []  # numbers of calls at the ends of steps of a pipeline
        self._repeated: list[OperatorCall] = []  # calls of the forward that backward makes again
        self._whole: set[Any] = set()  # operators that are not made of others

    @classmethod
    def is_infra_mode(cls) -> bool:
        """Returns True: otherwise torch.compile would skip every frame while a mode is active."""
        return True

    @classmethod
    def ignore_compile_internals(cls) -> bool:
        """Returns True, for the same reason."""
        return True

    @property
    def phase(self) -> Phase | None:
        """The phase of the calls; None: they are not noted."""
        return self._phase

    @phase.setter
    def phase(self, phase: Phase | None) -> None:
        self._phase = phase
        self._place = None if phase is None else Place(phase, self._stage)

    def begin_stage(self, name: str) -> None:
        """Begins a stage of a pipeline."""
        self._stage = name
        self.phase = self._phase

    def end_iteration(self) -> None:
        """Ends a step of the loop of a pipeline."""
        self._iterations.append(len(self._calls))

    def repeat_iteration(self, times: int) -> None:
        """Notes the calls of the last whole step of the loop of a pipeline `times` more."""
        if len(self._iterations) >= 2:
            begin, end = self._iterations[-2:]
            self._calls[end:end] = self._calls[begin:end] * times

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Notes calls within the context, and kernels that the dispatcher does not see."""
        with heard(self._launched), self:
            yield

    def _launched(self, kernel: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        call = None if self.phase is None else call_of(kernel, args, kwargs)
        if call is not None:
            self._note(replace(call, issuer=_issuer()))

    def forget(self) -> None:
        """Forgets the calls in phases so far."""
        self._calls.clear()
        self._iterations.clear()
        self._repeated.clear()

    def recorded(self, device: torch.device) -> RecordedCalls:
        """Returns the calls on `device` in the phases."""
        return recorded_calls(self._calls, device)

    def records(self, device: torch.device) -> tuple[OperatorRecord, ...]:
        """Returns the calls on `device` in the phases, alike calls as one record."""
        return self.recorded(device).operators

    def recomputed_flops(self, device: torch.device) -> int:
        """Returns the FLOPs on `device` by which backward computes activations again."""
        return sum(one.flops or 0 for one in self._repeated if device.type in one.devices)

    def moved_bytes(self, device: torch.device, phase: Phase) -> int:
        """Returns the bytes that the calls on `device` in a phase read and write."""
        found = [one for one in self.records(device) if one.phase is phase]
        return sum(one.calls * (one.read_bytes + one.written_bytes) for one in found)

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if types and dtensors.take_themselves_apart(types):
            return NotImplemented
        if not isinstance(func, torch._ops.OpOverload):
            return func(*args, **kwargs)  # a control-flow operator: what is in it comes by itself
        if types and dtensors.are_shapes_alone(types):
            return func(*args, **kwargs)
        if func not in self._whole:
            if not has_formula(func) and _is_composite(func):
                with self:
                    return func._op_dk(_COMPOSITE, *args, **kwargs)
            self._whole.add(func)
        before = self._launches()
        out = func(*args, **kwargs)
        if self.tally is not None or self.phase is not None:
            launched = self._launches() - before
            self._note(self._costs.of(func, args, kwargs, out, launches=launched, issuer=_issuer()))
        return out

    def _note(self, call: OperatorCall) -> None:
        if self.tally is not None:
            self.tally.add(self._path.current, call)
        if self._place is not None:
            self._calls.append((self._place, call))
            # Backward itself runs without gradients; a checkpoint switches them on to recompute.
            if self._phase is Phase.BACKWARD and torch.is_grad_enabled():
                self._repeated.append(call)


def _issuer() -> Issuer:
    """Returns who issues the call of this moment."""
    if not in_compiled_code():
        return Issuer.EAGER
    return Issuer.GRAPH if torch.cuda.is_current_stream_capturing() else Issuer.COMPILED


class SavingHooks(Protocol):
    """Hooks of tensors that autograd saves."""

    def pack(self, tensor: torch.Tensor) -> Any: ...

    def unpack(self, saved: Any) -> torch.Tensor: ...


class SavedStorages:
    """Storages that autograd keeps for backward, by the module whose operator keeps them."""

    def __init__(
        self, path: ModulePath, known: Iterable[torch.Tensor], below: SavingHooks | None = None
    ) -> None:
        """Excludes `known`: parameters, buffers and inputs exist anyway.

        `below` are the hooks in force, which those of `watching` would replace.
        """
        self._path = path
        self._below = below
        self._known = {id_ for tensor in known if (id_ := _identity(tensor)) is not None}
        # Held, so that no other storage gets the same identity as long as this one counts.
        self._storages: dict[str, dict[int, torch.UntypedStorage]] = {}

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Notes the tensors that autograd saves within the context."""
        unpack = (lambda tensor: tensor) if self._below is None else self._below.unpack
        with torch.autograd.graph.saved_tensors_hooks(self._pack, unpack):
            yield

    def _pack(self, tensor: torch.Tensor) -> Any:
        identity = _identity(tensor)
        if identity is not None and identity not in self._known:
            own = self._storages.setdefault(self._path.current, {})
            own[identity] = tensor.untyped_storage()
        return tensor if self._below is None else self._below.pack(tensor)

    def size_bytes(self, path: str) -> int:
        """Returns bytes that a module and all within it keep, each storage once."""
        within = f"{path}."
        kept = {
            identity: storage.nbytes()
            for owner, own in self._storages.items()
            if not path or owner == path or owner.startswith(within)
            for identity, storage in own.items()
        }
        return sum(kept.values())


def _identity(tensor: torch.Tensor) -> int | None:
    try:
        return int(tensor.untyped_storage()._cdata)
    except NotImplementedError:  # sparse: several storages, none of its own
        return None
