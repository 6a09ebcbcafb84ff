"""Records a run: every request to the allocator with its category, phase and origin.

In: the marks of a run (Watch). Out: AllocationTrace. Convention: the recording does not change the
run: only torch's own observers are used, and no tensor is kept alive.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from itertools import chain
from typing import Any

import torch
from torch import nn

from planner.wire.trace import AllocationTrace, Phase, TensorCategory
from planner.worker.record.attribution import Mark, Note, Observed, Stage, attribute
from planner.worker.record.holders import Holders, Holding
from planner.worker.record.module_calls import ModuleCalls
from planner.worker.record.operator_sites import OperatorSites, SiteRequest
from planner.worker.record.quiet import collector_stopped
from planner.worker.record.request_recorder import RequestRecorder
from planner.worker.record.stages import moves_noted, stages_noted

# Prefix of the module name for tensors of a copy that averages the weights.
AVERAGE = "ema"


class Recorder(RequestRecorder):
    """Records one run on `device`; records nothing if no history is kept.

    Without `has_loss`, no loss follows the model's forward.
    """

    def __init__(self, device: torch.device, *, has_loss: bool = True) -> None:
        super().__init__(device, lines=True)
        self._operators = OperatorSites(device)
        self._holders: Holders | None = None
        self._modules: ModuleCalls | None = None
        self._step = 0
        self._marks: list[Mark] = []
        self._notes: list[Note] = []
        self._sites: tuple[SiteRequest, ...] = ()
        self._sites_begin = 0
        self._built_bytes: dict[int, int] = {}
        self._owns_step = False
        self._stages: list[Stage] = []
        self._hooks = ExitStack()
        self._has_loss = has_loss

    def built(self, model: nn.Module, optimizer: Any | None, scaler: Any | None) -> None:
        """Starts the observers: the model is on the card, the first step begins."""
        if self._history is None:
            return
        self._holders = Holders(model, optimizer, scaler)
        self._modules = ModuleCalls(model, self._on_root)
        self._sites_begin = self._position()
        self._built_bytes = self._history.block_bytes()
        held = chain(self._holders.weights(), self._holders.attributes())
        self._note(self._sites_begin, held)
        self._step = 1
        super().built(model, optimizer, scaler)
        self._mark(self._sites_begin)
        self._modules.start()
        self._hooks.enter_context(stages_noted(model, self._begin_stage))
        self._hooks.enter_context(moves_noted(model, self._weight_moved))
        self._operators.start()

    def joined(self, model: nn.Module, path: str) -> None:
        """Adds a further model of the step, whose modules are named below `path`."""
        if self._holders is None or self._modules is None:
            return
        self._holders.add_model(model, path)
        self._modules.add_model(model, path)
        self._note(self._position(), chain(self._holders.weights(), self._holders.attributes()))

    def averaged(self, module: nn.Module) -> None:
        """Notes the tensors of an averaged copy, named after the model's."""
        if self._holders is not None:
            copied = Holders(module, None, None)
            held = chain(copied.weights(), copied.attributes())
            self._note(self._position(), _of_copy(held))

    def enter(self, phase: Phase, inputs: Any = None) -> None:
        """Begins `phase`, and notes the memory that the last one has left."""
        if self._holders is None:
            return
        left = self._phase
        super().enter(phase, inputs)
        position = self._position()
        self._mark(position)
        if left is Phase.BACKWARD:
            self._note(position, self._holders.gradients())
        if inputs is not None:
            self._note(position, self._holders.inputs(inputs))

    def token(self, cache: Iterable[torch.Tensor]) -> None:
        """Begins a round of a loop that writes tokens, and notes what it has kept of them."""
        if self._holders is None:
            return
        super().token(cache)
        kept = (
            Holding(address=one.untyped_storage().data_ptr(), category=TensorCategory.CACHE)
            for one in cache
            if one.untyped_storage().nbytes()
        )
        self._note(self._position(), kept)

    def stepped(self, optimizer: Any, *, by_user: bool) -> None:
        """Adds an optimizer that begins its step, to name its state."""
        self._owns_step |= by_user
        if self._holders is not None:
            self._holders.add_optimizer(optimizer)

    def end_step(self) -> None:
        """Ends a step; later requests belong to the next one."""
        if self._holders is None:
            return
        super().end_step()
        self._step += 1
        position = self._position()
        self._mark(position)
        state = chain(self._holders.weights(), self._holders.optimizer_state())
        self._note(position, state)

    def end_steps(self) -> None:
        """Ends the steps: all have ended, or one has failed."""
        if self._holders is None or self._modules is None:
            return
        super().end_steps()
        if self._has_failed():
            held = chain(self._holders.gradients(), self._holders.optimizer_state())
            self._note(self._position(), held)
        self._modules.stop()
        self._hooks.close()
        with collector_stopped():
            self._sites = self._operators.stop()

    def end(self) -> None:
        """Ends the run, completed or failed."""
        super().end()
        self._holders = None

    def trace(self) -> AllocationTrace | None:
        """Returns all requests with their purposes; None if they could not be recorded."""
        history = self._recorded
        if history is None:
            return None
        recording = Observed(
            history=history,
            end=self._end_of(history),
            sites_begin=self._sites_begin,
            built_bytes=self._built_bytes,
            marks=self._marks,
            notes=self._notes,
            sites=self._sites,
            calls=self._modules.calls if self._modules else (),
            owns_step=self._owns_step,
            rounds=self._rounds,
            stages=self._stages,
        )
        with collector_stopped():
            return attribute(recording)

    def _begin_stage(self, name: str) -> None:
        self._stages.append(Stage(position=self._position(), name=name))

    def _weight_moved(self, module: nn.Module, name: str | None) -> None:
        if self._holders is not None:
            self._note(self._position(), self._holders.moved(module, name))

    def _on_root(self, begins: bool) -> None:
        """Sets the phase: in a step of one function, the loss follows the model's forward."""
        if not self._has_loss or torch.is_inference_mode_enabled():
            return
        before, after = (Phase.LOSS, Phase.FORWARD) if begins else (Phase.FORWARD, Phase.LOSS)
        if self._phase is before:
            self._phase = after
            self._mark(self._position())

    def _mark(self, position: int) -> None:
        self._marks.append(Mark(position=position, step=self._step, phase=self._phase))

    def _note(self, position: int, holdings: Iterator[Holding]) -> None:
        self._notes.append(Note(position=position, holdings=tuple(holdings)))


def _of_copy(holdings: Iterator[Holding]) -> Iterator[Holding]:
    """Yields the holdings of an averaged copy: untrained, with the prefix `ema` in their module."""
    for one in holdings:
        module = f"{AVERAGE}.{one.module}".rstrip(".")
        yield replace(one, category=TensorCategory.BUFFER, module=module)
