"""A stand-in for the Trainer of Lightning: one process, one card, nothing logged or saved.

In: the optimizers of a LightningModule. Out: the `self.trainer` that its training_step uses.
Convention: a missing attribute raises an error, because a wrong value would change the step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn

from planner.worker.optimizers.tree import optimizers_in, schedulers_in

_BATCHES = 1000  # of an epoch: schedulers want to know how many steps there will be


class Trainer:
    """The attributes that modules read; Steps sets the step's number."""

    def __init__(
        self, model: nn.Module, accumulate: int, scaler: torch.amp.GradScaler | None
    ) -> None:
        self.lightning_module = self.model = model
        self.scaler = scaler
        self.optimizers: list[Any] = []
        self.lr_scheduler_configs: list[Any] = []
        self.accumulate_grad_batches = accumulate
        self.current_epoch = self.global_step = 0
        self.max_epochs, self.max_steps, self.min_epochs = 1, -1, 1
        self.num_training_batches = self.estimated_stepping_batches = _BATCHES
        self.num_val_batches: list[int] = []
        self.world_size = self.num_devices = self.num_nodes = 1
        self.global_rank = self.local_rank = self.node_rank = 0
        self.is_global_zero = True
        self.training = True
        self.validating = self.testing = self.predicting = self.sanity_checking = False
        self.evaluating = self.fast_dev_run = self.is_last_batch = False
        self.gradient_clip_val: float | None = None
        self.gradient_clip_algorithm: Any = None
        self.callbacks: list[Any] = []
        self.callback_metrics: dict[str, Any] = {}
        self.logged_metrics: dict[str, Any] = {}
        self.progress_bar_metrics: dict[str, Any] = {}
        self.logger = Mute()
        self.loggers: list[Any] = []
        self.datamodule = self.train_dataloader = self.val_dataloaders = None
        self.default_root_dir = "."
        self.strategy = self.precision_plugin = _Strategy(self)

    def attach(self, given: Any) -> None:
        """Sets the optimizers and the schedulers of the run."""
        self.optimizers = list(optimizers_in(given))
        self.lr_scheduler_configs = [
            SimpleNamespace(scheduler=scheduler) for scheduler in schedulers_in(given)
        ]
        self.strategy._lightning_optimizers = [Stepper(self, one) for one in self.optimizers]

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(
            f"the planner runs a LightningModule without Lightning's Trainer; its stand-in has no "
            f"{name!r}: read it only where there is one, or give the model file a training_step"
        )


class Mute:
    """A logger whose methods do nothing."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self


class Stepper:
    """An optimizer as `self.optimizers()` gives it: its step takes the GradScaler into account."""

    def __init__(self, trainer: Trainer, optimizer: Any) -> None:
        self._trainer = trainer
        self.optimizer = optimizer

    def step(self, closure: Callable[[], Any] | None = None, **kwargs: Any) -> Any:
        """Makes a step: the closure first, then unscaling and clipping."""
        return self._trainer.strategy.optimizer_step(self.optimizer, closure, **kwargs)

    @contextmanager
    def toggle_model(self, sync_grad: bool = True) -> Iterator[None]:
        """Lets only this optimizer's parameters require gradients within the context."""
        module: Any = self._trainer.lightning_module
        module.toggle_optimizer(self)
        try:
            yield
        finally:
            module.untoggle_optimizer(self)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.optimizer, name)


class _Strategy:
    """The work of Lightning's strategy and its precision plugin for a step on one card."""

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer
        self._lightning_optimizers: list[Stepper] = []

    def backward(
        self, loss: torch.Tensor, optimizer: Any = None, *args: Any, **kwargs: Any
    ) -> None:
        """Calls the module's own backward, with hooks before and after it."""
        module: Any = self._trainer.lightning_module
        call_hook(module, "on_before_backward", loss)
        if self._trainer.scaler is not None:
            loss = self._trainer.scaler.scale(loss)
        own = getattr(module, "backward", None)
        if own is None:
            torch.autograd.backward(loss, *args, **kwargs)
        else:
            own(loss, *args, **kwargs)
        call_hook(module, "on_after_backward")

    def optimizer_step(
        self, optimizer: Any, closure: Callable[[], Any] | None = None, **kwargs: Any
    ) -> Any:
        """Steps the optimizer as Lightning's Precision and MixedPrecision do."""
        trainer, scaler = self._trainer, self._trainer.scaler
        module: Any = trainer.lightning_module

        def whole() -> Any:
            result = None if closure is None else closure()
            if scaler is not None and result is None and module.automatic_optimization:
                return None  # there was no backward
            if scaler is not None and not getattr(optimizer, "_step_supports_amp_scaling", False):
                scaler.unscale_(optimizer)
            call_hook(module, "on_before_optimizer_step", optimizer)
            if module.automatic_optimization:
                clip = trainer.gradient_clip_val, trainer.gradient_clip_algorithm
                call_hook(module, "configure_gradient_clipping", optimizer, *clip)
            return result

        if scaler is None:
            return optimizer.step(closure=whole, **kwargs)
        result = whole()
        if result is None and module.automatic_optimization:
            return None  # there was no backward
        stepped = scaler.step(optimizer, **kwargs)
        scaler.update()
        return stepped

    def clip_gradients(
        self, optimizer: Any, clip_val: float = 0.0, algorithm: Any = "norm"
    ) -> None:
        """Clips the gradients of one optimizer's parameters."""
        if not clip_val or clip_val <= 0:
            return
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        if str(getattr(algorithm, "value", algorithm) or "norm") == "value":
            torch.nn.utils.clip_grad_value_(parameters, clip_value=clip_val)
        else:
            torch.nn.utils.clip_grad_norm_(parameters, clip_val)

    def all_gather(self, tensor: Any, *args: Any, **kwargs: Any) -> Any:
        """Returns the tensor: there is one process."""
        return tensor

    def reduce(self, tensor: Any, *args: Any, **kwargs: Any) -> Any:
        """Returns the tensor: there is one process."""
        return tensor

    def barrier(self, *args: Any, **kwargs: Any) -> None:
        """Does nothing: there is no other process."""


def call_hook(module: Any, name: str, *args: Any) -> Any:
    """Calls a hook if the module has it; returns None otherwise."""
    hook = getattr(module, name, None)
    return hook(*args) if callable(hook) else None
