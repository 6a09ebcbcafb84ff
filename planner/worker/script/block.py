"""Begins a block of code in this process on the emulated card.

In: a ScriptOrder, in a process that has not imported torch. Out: torch on the emulated card, and
the RunningBlock that watches it.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING

from planner.machine.parentage import end_with_parent
from planner.wire.script import ScriptOrder, order_text
from planner.worker.script.begin import before_torch, seed_generators

if TYPE_CHECKING:
    from planner.worker.script.running_block import RunningBlock


def begin_here(order: ScriptOrder) -> RunningBlock:
    """Loads the emulated device and torch, and starts to watch this process.

    Raises:
        StepsDone: the block is refused; its report says why.
    """
    return _begun(order, ends_process=False)


def begin_in_fork(order: ScriptOrder, parent: int) -> RunningBlock:
    """Begins in a fork of `parent`: silently, and the process ends with the steps of the block."""
    try:
        end_with_parent(parent)
        _silence()
        return _begun(order, ends_process=True)
    except BaseException:  # the caller's code must not go on in two processes
        os._exit(1)


def _begun(order: ScriptOrder, *, ends_process: bool) -> RunningBlock:
    before_torch(order_text(order))
    importlib.import_module("torch")
    from planner.worker.script.running_block import RunningBlock

    seed_generators()
    running = RunningBlock(order, ends_process=ends_process)
    running.begin()
    return running


def _silence() -> None:
    nothing = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):
        os.dup2(nothing, descriptor)
    sys.stdout = sys.stderr = os.fdopen(nothing, "w")
