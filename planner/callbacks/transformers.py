"""A callback for the Trainer of transformers, and of trl.

    from planner.callbacks.transformers import PlannerCallback
    PlannerCallback("run.planner").add_to(trainer)
    trainer.train()

In: an Estimate, or the file of --save. Out: the figures in the Trainer's log, from where W&B,
TensorBoard and MLflow have them. Convention: see planner.callbacks.loop.
"""

from __future__ import annotations

import os
from typing import Any

from transformers import TrainerCallback

from planner.callbacks.loop import AFTER_STEPS, Watch
from planner.results.estimate import Estimate


class PlannerCallback(TrainerCallback):  # type: ignore[misc]  # most machines lack transformers
    """Logs predicted and measured memory after `after_steps` optimizer steps."""

    def __init__(
        self,
        estimate: Estimate | str | os.PathLike[str],
        *,
        after_steps: int = AFTER_STEPS,
        keep: bool = True,
    ) -> None:
        self.watch = Watch(estimate, after_steps=after_steps, keep=keep)
        self._figures: dict[str, float] = {}
        self._trainer: Any = None

    def add_to(self, trainer: Any) -> PlannerCallback:
        """Adds the callback to a Trainer, through whose log the figures go; returns itself."""
        self._trainer = trainer
        trainer.add_callback(self)
        return self

    def on_train_begin(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        """Notes the batch of the run, and where its log is."""
        self.watch.batch_size = getattr(args, "train_batch_size", None)
        self.watch.log = self._log if getattr(state, "is_world_process_zero", True) else _nowhere

    def on_step_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        """Counts the step."""
        self.watch.step()
        if self._figures:  # no trainer is known: the next line of the log has them
            control.should_log = True

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **rest: Any
    ) -> None:
        """Adds the figures to the line of the log, where no trainer is known."""
        if logs is not None and self._figures:
            logs.update(self._figures)
            if state.log_history:
                state.log_history[-1].update(self._figures)
            self._figures = {}

    def _log(self, figures: dict[str, float], *, step: int) -> None:
        if self._trainer is None:
            self._figures = figures
        else:
            self._trainer.log(dict(figures))


def _nowhere(figures: dict[str, float], *, step: int) -> None:
    """Takes the figures of a process that does not write the log."""
