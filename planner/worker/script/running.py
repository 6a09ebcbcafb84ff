"""One process of a script on the emulated card: its steps are counted, and it ends after them.

In: a ScriptOrder, just after torch's import. Out: a ScriptReport, written as a file, when the
optimizer that has stepped most begins the step after the last, or when the process ends before.
Convention: nothing here changes what the script sees, except that it ends; a forked process of the
script (a worker that loads data) never reports.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import faulthandler
import json
import os
import signal
import sys
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from planner.machine.whole_files import write_whole
from planner.wire.script import (
    ENDED_CODE,
    REPORT_PREFIX,
    STACK_FILE,
    ScriptEnd,
    ScriptOrder,
    ScriptReport,
    plain,
)
from planner.wire.trace import Phase
from planner.wire.value_reads import ValuesPass
from planner.worker.drive.step_events import step_events
from planner.worker.drive.token_loop import loops
from planner.worker.engines import emulation
from planner.worker.engines.kernel_launches import told_alone
from planner.worker.ranks.communication import CommunicationLog
from planner.worker.record.watch import Watch
from planner.worker.script.counting import StepCounting
from planner.worker.script.initialising import leave_large_weights
from planner.worker.script.loaders import TrainingLoader
from planner.worker.script.optimizers import MadeOptimizers
from planner.worker.script.recording import ScriptRecording
from planner.worker.script.reporting import Seen, report_of
from planner.worker.script.saves import Saves
from planner.worker.script.true_peaks import TruePeaks
from planner.worker.serve import torch_hooks
from planner.worker.values.passes import pass_of_values

_PR_SET_NAME = 15
_TITLE = b"planner-run"  # at most 15 characters
_exit = os._exit  # the script may put a function of its own there


class RunningScript(Watch):
    """Watches this process from the import of torch on."""

    def __init__(self, order: ScriptOrder) -> None:
        self._order = order
        self._pid = os.getpid()
        self._reported = False
        self._entered = ExitStack()
        self._peaks = TruePeaks()
        self._saves = Saves()
        self._loader = TrainingLoader(order.batch_size)
        self._made = MadeOptimizers()
        self._recording = ScriptRecording(order.recording, infers=order.infers)
        counts = order.values.kind is ValuesPass.VALUES
        self._counting = StepCounting(infers=order.infers) if counts else None
        self._values = pass_of_values(order.values, lambda: None)
        self._seen = Seen(profile_note=None)
        self._steps: Counter[int] = Counter()
        self._finding: Any = None  # the hook that looks for the model
        self._messages: CommunicationLog | None = None  # to other ranks

    def begin(self) -> None:
        """Starts to watch."""
        self._play_rank()
        self._seen.profile_note = emulation.settle(self._order.profile)
        torch_hooks.install()
        leave_large_weights()
        ctypes.CDLL(None).prctl(_PR_SET_NAME, _TITLE, 0, 0, 0)
        stack = Path(self._order.folder, f"{STACK_FILE}-{self._pid}").open("w")  # noqa: SIM115 # kept open
        faulthandler.register(signal.SIGUSR1, file=stack, all_threads=True)
        self._peaks.watch()
        self._saves.watch()
        self._loader.watch()
        self._made.watch()
        before: Any = register_optimizer_step_pre_hook
        before(self._before_step)
        self._entered.enter_context(step_events(self, self._around_backward))
        after: Any = register_optimizer_step_post_hook
        after(self._after_step)
        find: Any = register_module_forward_pre_hook
        self._finding = find(self._module_called)
        if self._order.infers:
            self._entered.enter_context(loops.watched(None, self._recording.token))
        self._entered.enter_context(self._values.active())
        if self._counting is not None:
            self._entered.enter_context(told_alone())  # this pass gives values and counts alone
            self._entered.enter_context(self._counting.observer.watching())
        atexit.register(self._at_exit)
        on_card: Any = torch.cuda._lazy_call
        on_card(self._recording.begin)

    def _play_rank(self) -> None:
        if self._order.ranks is not None:
            from planner.worker.script.ranks import play

            self._messages = play(self._order.ranks)
            if self._counting is not None:
                counting = self._counting
                self._messages.phase = lambda: counting.observer.phase
            return
        ranks = os.environ.get("WORLD_SIZE", "1")
        if ranks != "1":
            self._seen.refusal = (
                f"the launcher starts {ranks} processes that train together; planner run has one "
                "process and one card: start it with one (--nproc-per-node 1, --num_processes 1), "
                "or with torchrun or accelerate launch, whose ranks planner run plays"
            )
            self._end(ScriptEnd.REFUSED)

    def enter(self, phase: Phase, inputs: Any = None) -> None:
        """Begins a phase of the script's step."""
        if self._is_mine():
            self._recording.enter(phase, inputs)
            if self._counting is not None:
                self._counting.enter(phase, inputs)

    def stepped(self, optimizer: Any, *, by_user: bool) -> None:
        """Notes an optimizer that begins its step."""
        if self._is_mine():
            self._recording.stepped(optimizer, by_user=by_user)

    def _is_mine(self) -> bool:
        return os.getpid() == self._pid and not self._reported

    def _module_called(self, module: nn.Module, args: Any) -> None:
        """Takes modules with weights on the card that no known model has for models; sees the
        batch of the first.
        """
        if torch.compiler.is_compiling():  # first: what follows would break the compiled graph
            return
        if not self._is_mine():
            return
        seen = self._seen
        if torch.is_autocast_enabled("cuda"):
            seen.autocast = torch.get_autocast_dtype("cuda")
        if id(module) not in seen.modules:
            if not (self._order.infers or torch.is_grad_enabled()):
                return
            if not any(p.is_cuda for p in module.parameters()):
                return
            path = seen.add(module)
            if path:
                self._recording.joined(module, path)
            else:
                self._recording.built(module, None, None)
        if module is seen.models[0]:
            inputs = (args, _keywords())
            seen.note_batch(inputs)
            self.enter(Phase.FORWARD, inputs)

    @contextlib.contextmanager
    def _around_backward(self) -> Iterator[None]:
        self._refuse_training()
        self._seen.backwards += 1
        yield

    def _before_step(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        if not self._is_mine():
            return
        self._refuse_training()
        if self._steps[id(optimizer)] >= self._order.steps:
            self._end(ScriptEnd.STEPS_DONE)
        seen = self._seen
        seen.optimizers[id(optimizer)] = optimizer
        self._without_a_model(optimizer)

    def _without_a_model(self, optimizer: Any | None) -> None:
        """Takes an empty model where the script uses the card and calls none."""
        if not self._seen.models and torch.cuda.is_initialized():  # type: ignore[no-untyped-call] # untyped in torch
            none = nn.Module()
            self._seen.add(none)
            self._recording.built(none, optimizer, None)

    def _refuse_training(self) -> None:
        """Ends a script of inference that begins to train."""
        if self._order.infers and self._is_mine():
            self._seen.refusal = (
                "the script trained nothing in its first run, and calls a backward or steps an "
                "optimizer in a later one: what it does must not depend on chance, on the time or "
                "on files that it writes"
            )
            self._end(ScriptEnd.REFUSED)

    def _after_step(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        if not self._is_mine():
            return
        self._steps[id(optimizer)] += 1
        made = self._steps[id(optimizer)]
        if made > self._seen.steps:
            self._end_step(made)

    def _end_step(self, number: int) -> None:
        self._seen.end_step(number)
        self._peaks.collect()
        self._recording.end_step()
        if self._counting is not None:
            self._counting.end_step()

    def _at_exit(self) -> None:
        if not self._is_mine():
            return
        error = getattr(sys, "last_exc", None) or getattr(sys, "last_value", None)
        if isinstance(error, BaseException):
            self._seen.error = error
        self._report(ScriptEnd.ENDED if self._seen.error is None else ScriptEnd.EXCEPTION)

    def _end(self, end: ScriptEnd) -> None:
        """Reports, and ends this process at once: no handler of the script runs any more.

        An exception would not do: `except:` catches it, and the script would go on.
        """
        try:
            self._report(end)
        except BaseException:
            traceback.print_exc()  # the parent says that the reason is here
        finally:
            for stream in (sys.stdout, sys.stderr):
                with suppress(BaseException):
                    stream.flush()
            _exit(ENDED_CODE)

    def _report(self, end: ScriptEnd) -> None:
        report = self._finished(end)
        name = f"{REPORT_PREFIX}{end.name.lower()}-{self._pid}"
        write_whole(Path(self._order.folder, name), json.dumps(plain(report)))

    def _finished(self, end: ScriptEnd) -> ScriptReport:
        """Stops to watch and returns the report."""
        self._reported = True
        if self._order.infers and end is ScriptEnd.ENDED and torch.cuda.is_initialized():  # type: ignore[no-untyped-call] # untyped in torch
            self._without_a_model(None)
            self._end_step(1)
        self._peaks.collect()
        self._values.reads.stop()
        recorded = self._recording.finish()
        return report_of(
            end,
            seen=self._seen,
            peaks=self._peaks,
            values=self._values,
            recorded=recorded,
            counting=self._counting,
            loader_batch_size=self._loader.batch_size,
            saved=self._saves.files,
            optimizers=self._made.names,
            messages=self._messages,
        )


def _keywords() -> Any:
    """Returns the keywords of the module's call: torch gives them to no hook of all modules."""
    frame = sys._getframe(2)
    return frame.f_locals.get("kwargs", {}) if "/torch/nn/" in frame.f_code.co_filename else {}
