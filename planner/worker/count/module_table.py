"""Makes one row of costs for each module; runs the forward once more to attribute them.

In: a model and the inputs of one call. Out: rows, their structure and rules, and notes. Convention:
a row includes submodules; a module that is registered in several places has one row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from planner.wire.module_counts import FlopRules, ModuleCounts, Structure
from planner.wire.trace import Phase
from planner.worker.count.counts import ForwardCounts, ModelCall, NotTraceableError, count_forward
from planner.worker.count.module_path import FxRun, ModulePath
from planner.worker.count.observer import OperatorObserver, SavedStorages, Tally
from planner.worker.count.operator_rules import free_operators
from planner.worker.model.tensors import tensors_in
from planner.worker.record.watch import Watch
from planner.worker.target.frames import first_line

# fvcore counts elementwise work too, so its count is normally the greater one. If it is smaller by
# more than this, operators are hidden from the trace.
_TOLERATED_FRACTION = 0.02
_NOT_CALLED = "no call of the whole model can be watched"
_REASON_LIMIT = 100  # characters; torch.fx explains itself at length


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows to the requested depth; the first is the model itself."""

    rows: tuple[ModuleCounts, ...]
    structure: Structure
    flop_rules: FlopRules
    flops_by_torch: int
    uncounted: Mapping[str, int]
    assumptions: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Forward:
    """A forward to examine. `call` is None where the model is not called as a whole.

    `trains`: autograd keeps tensors for backward. `step` is the whole training_step; of it, forward
    and loss count.
    """

    model: nn.Module
    run: Callable[[], Any]
    inputs: Any
    call: ModelCall | None
    trains: bool = True
    step: Callable[[Watch], Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """One watched run of the forward."""

    tally: Tally
    saved: SavedStorages
    structure: Structure
    notes: tuple[str, ...] = ()


def module_table(forward: Forward, depth: int, watched: Watched | None = None) -> Table:
    """Returns rows of all modules down to `depth` (0: the model alone).

    `watched` is an earlier watched run of the forward; it replaces a new one.

    Raises:
        Exception: whatever the user's forward raises.
    """
    watched = watched or _watch(forward)
    assumptions = list(watched.notes)
    counts, reason = _counted(forward)
    own = watched.tally
    if counts is not None and _hides_work(counts, own):
        hidden = ", ".join(counts.uncounted) or "inside of custom functions"
        counts, reason = None, f"its trace lacks operators that the run showed ({hidden})"
    if counts is None:
        assumptions.append(
            f"FLOPs: matrix products, convolutions and attention alone, by the formulas of "
            f"torch.utils.flop_counter; fvcore could not count, because {reason}; activations "
            "are not counted"
        )
    flops = _cumulated(own.flops) if counts is None else counts.flops
    read, written = _cumulated(own.read_bytes), _cumulated(own.written_bytes)
    rows = [
        ModuleCounts(
            path=path,
            kind=type(module).__name__,
            parameters=sum(tensor.numel() for tensor in module.parameters()),
            trainable_parameters=sum(
                tensor.numel() for tensor in module.parameters() if tensor.requires_grad
            ),
            forward_flops=flops.get(path, 0),
            activations=None if counts is None else counts.activations.get(path, 0),
            saved_bytes=watched.saved.size_bytes(path),
            read_bytes=read[path],
            written_bytes=written[path],
        )
        for path, module in _to_depth(forward.model, depth)
    ]
    return Table(
        rows=tuple(rows),
        structure=watched.structure,
        flop_rules=FlopRules.TORCH if counts is None else FlopRules.FVCORE,
        flops_by_torch=own.total_flops,
        uncounted=_computing(own.without_formula) if counts is None else counts.uncounted,
        assumptions=tuple(assumptions),
        notes=watched.notes,
    )


def _watch(forward: Forward) -> Watched:
    reason = _NOT_CALLED
    if forward.call is not None:
        try:
            graph = FxRun(forward.model, forward.call.arguments, forward.call.keywords)
            return _watched_run(forward, Structure.FX_GRAPH, graph)
        except Exception as error:
            reason = f"torch.fx cannot trace the model ({first_line(error, limit=_REASON_LIMIT)})"
    watched = _watched_run(forward, Structure.MODULE_HOOKS, lambda _: forward.run())
    return replace(watched, notes=(f"modules were told by hooks, because {reason}",))


def _watched_run(
    forward: Forward, structure: Structure, run: Callable[[ModulePath], Any]
) -> Watched:
    model = forward.model
    path = ModulePath(model)
    observer = OperatorObserver(path)
    observer.tally = tally = Tally()
    inputs = [tensor for _, tensor in tensors_in(forward.inputs)]
    saved = SavedStorages(path, [*model.parameters(), *model.buffers(), *inputs])
    with path.hooked(), saved.watching(), observer, torch.set_grad_enabled(forward.trains):
        if forward.step is not None:
            forward.step(_ForwardAlone(observer))
        else:
            run(path)
    return Watched(tally=tally, saved=saved, structure=structure)


class _ForwardAlone(Watch):
    """Removes the observer's tally during backward and the optimizers' steps."""

    def __init__(self, observer: OperatorObserver) -> None:
        self._observer = observer
        self._tally = observer.tally

    def enter(self, phase: Phase, inputs: Any = None) -> None:
        """Gives the tally to the observer in forward and loss, and removes it in other phases."""
        is_forward = phase in (Phase.FORWARD, Phase.LOSS)
        self._observer.tally = self._tally if is_forward else None


def _counted(forward: Forward) -> tuple[ForwardCounts | None, str]:
    if forward.call is None:
        return None, _NOT_CALLED
    try:
        return count_forward(forward.model, forward.call), ""
    except NotTraceableError as error:
        return None, f"torch.jit cannot trace the model ({error})"


def _hides_work(counts: ForwardCounts, tally: Tally) -> bool:
    """Returns whether the model's own autograd functions and the like hide products from fvcore.

    They are opaque to a jit trace, and visible to an observer.
    """
    return counts.flops.get("", 0) < (1 - _TOLERATED_FRACTION) * tally.total_flops


def _computing(calls: Mapping[str, int]) -> dict[str, int]:
    """Returns the calls without operators that only copy, look up or compare."""
    free = set(free_operators())
    return {name: number for name, number in calls.items() if name not in free}


def _cumulated(own: Mapping[str, int]) -> Counter[str]:
    """Returns sums of modules, their submodules included."""
    total: Counter[str] = Counter()
    for path, count in own.items():
        for holder in _holders(path):
            total[holder] += count
    return total


def _holders(path: str) -> Iterator[str]:
    yield path
    while path:
        path = path.rpartition(".")[0]
        yield path


def _to_depth(model: nn.Module, depth: int) -> Iterator[tuple[str, nn.Module]]:
    for path, module in model.named_modules():
        if not path or path.count(".") < depth:
            yield path, module
