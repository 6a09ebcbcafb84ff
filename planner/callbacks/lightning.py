"""A callback for the Trainer of Lightning, of the package lightning or pytorch_lightning.

    from planner.callbacks.lightning import PlannerCallback
    Trainer(callbacks=[PlannerCallback("run.planner")])

In: an Estimate, or the file of --save. Out: the figures in each logger of the Trainer (W&B,
TensorBoard, MLflow, CSV). Convention: see planner.callbacks.loop.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from planner.callbacks.loop import AFTER_STEPS, Watch
from planner.results.estimate import Estimate

if TYPE_CHECKING:
    Callback = Any
else:

    def _callback() -> type:
        """Returns the base class of the package whose Trainer the process uses."""
        names = ["lightning.pytorch", "pytorch_lightning"]
        names.sort(key=lambda name: name not in sys.modules)  # what is imported already is used
        try:
            return import_module(names[0]).Callback
        except ImportError:
            return import_module(names[1]).Callback

    Callback = _callback()


class PlannerCallback(Callback):  # type: ignore[misc]  # most machines lack lightning
    """Logs predicted and measured memory after `after_steps` optimizer steps."""

    def __init__(
        self,
        estimate: Estimate | str | os.PathLike[str],
        *,
        after_steps: int = AFTER_STEPS,
        keep: bool = True,
    ) -> None:
        super().__init__()
        self.watch = Watch(estimate, after_steps=after_steps, keep=keep)
        self._steps = 0

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Notes the batch of the run, and where its logs are."""

        def begin() -> None:
            self.watch.batch_size = getattr(trainer.train_dataloader, "batch_size", None)
            self.watch.log = lambda figures, *, step: [
                logger.log_metrics(figures, step=step) for logger in trainer.loggers
            ]
            self._steps = trainer.global_step

        self.watch.attempt(begin)

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Counts a step, where the batch ended one: with accumulation not each does."""
        if trainer.global_step > self._steps:
            self._steps = trainer.global_step
            self.watch.step()
