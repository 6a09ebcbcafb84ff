"""emulated(): a block of the caller's own code, on an emulated card in this very process.

card, steps
  -> a fork runs the block for the values that it reads, then this process runs it
  -> Estimate
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from planner.config.options import ScriptOptions
from planner.config.step import Mode
from planner.emulator.build import emulated_device
from planner.emulator.torch_install import find_torch
from planner.errors import UsageError
from planner.estimation.block import estimate_block
from planner.estimation.context import ProfileFactory
from planner.estimation.request import DEFAULT_TIMEOUT_S
from planner.memory.budget import memory_budgets
from planner.memory.card_words import card_words
from planner.process.script.block import BlockRun, ends_block
from planner.questions.run import DEFAULT_STEPS
from planner.results.estimate import Estimate
from planner.verification.calibrated_budgets import CalibratedBudgets, calibrated_budgets

if TYPE_CHECKING:
    from typing_extensions import Unpack


class EmulatedCard:
    """A card for the block of one `with`; `estimate` is there after the block."""

    def __init__(self, gpu: str, steps: int, options: ScriptOptions) -> None:
        names = card_words(gpu)
        if len(names) != 1:
            raise UsageError(f"a block runs on one card, like emulated('h100'), not {gpu!r}")
        if steps < 1:
            raise UsageError(f"steps is {steps}, and must be 1 or more")
        database = options.get("hardware_db")
        self._database = None if database is None else Path(database)
        self._budgets = memory_budgets(
            names,
            hardware_db=self._database,
            gpu_memory=options.get("gpu_memory"),
            reserve=options.get("reserve", 0),
        )
        self._steps = steps
        self._options = options
        self._run: BlockRun | None = None
        self._estimate: Estimate | None = None

    def __enter__(self) -> EmulatedCard:
        if self._run is not None:
            raise UsageError("this card has had its block; a new process can have another one")
        if "torch" in sys.modules:
            raise UsageError(
                "torch is imported already, and its card cannot be changed any more: begin the "
                "block in a fresh process, before anything imports torch"
            )
        self._torch = find_torch()
        known = self._known_of(Mode.TRAIN)
        progress = self._options.get("on_progress") or (lambda _: None)
        device = emulated_device(self._torch, progress)
        profile = ProfileFactory(torch=self._torch, device=device).unlimited(known.budgets[0])
        self._run = BlockRun(device=device, profile=profile, steps=self._steps)
        self._run.begin(self._options.get("timeout_s", DEFAULT_TIMEOUT_S))
        return self

    def _known_of(self, mode: Mode) -> CalibratedBudgets:
        return calibrated_budgets(
            self._budgets,
            torch=self._torch.version,
            mode=mode,
            from_history=self._options.get("calibration", True),
        )

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        assert self._run is not None, "entered"
        reports = self._run.finish(error)
        if reports is not None:
            self._estimate = estimate_block(
                reports,
                self._known_of(Mode.INFER if reports.infers else Mode.TRAIN),
                self._torch,
                steps=self._steps,
                database=self._database,
            )
        return ends_block(error)

    @property
    def estimate(self) -> Estimate:
        """The Estimate of the block.

        Raises:
            UsageError: the block has not ended, or an exception ended it.
        """
        if self._estimate is None:
            raise UsageError("there is no estimate yet: the block has not ended, or has failed")
        return self._estimate


def emulated(
    gpu: str, *, steps: int = DEFAULT_STEPS, **options: Unpack[ScriptOptions]
) -> EmulatedCard:
    """Runs the block of a `with` on an emulated card: `with planner.emulated("h100") as card:`.

    The block is ended where its optimizer begins step `steps` + 1; `card.estimate` then has its
    memory and time. A block that trains nothing is one step of inference. Use it in a fresh
    process: torch must not have been imported, and the process has no other card afterwards. A fork
    runs the block first, for the values that it reads, without its output; what the block writes to
    the disk stays. To train after it, start another process.

    Raises:
        PlannerError: see errors.py. A block that does not fit is a result, not an error.
    """
    return EmulatedCard(gpu, steps, options)
