"""Trains a LightningModule by its own training_step and configure_optimizers.

In: the model on the card. Out: Steps, whose `run` is a step as Lightning's loop makes it. Lightning
itself is not imported: a stand-in replaces the Trainer. Convention: zero_grad comes after the
forward, as in Lightning, so that gradients of the last step are alive during the forward.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import nn

from planner.config.step import Mode, StepConfig
from planner.errors import ModelError
from planner.worker.drive import forward
from planner.worker.drive.step_events import forward_begins
from planner.worker.drive.trainer import Mute, Trainer, call_hook
from planner.worker.model.compiled import original
from planner.worker.optimizers.choice import check_optimizers
from planner.worker.optimizers.tree import names_in, optimizers_in
from planner.worker.target.source import ModelSource

_CLASS = "LightningModule"
_PLACED = "_DeviceDtypeModuleMixin"  # keeps device and dtype, which its .to() would set


def is_module(model: nn.Module) -> bool:
    """Returns whether the model is a LightningModule with a training_step of its own."""
    kind = type(model)
    has_class = any(base.__name__ == _CLASS for base in kind.__mro__)
    return has_class and all(
        callable(getattr(kind, name, None)) for name in ("training_step", "configure_optimizers")
    )


def drives(source: ModelSource, config: StepConfig, model: nn.Module) -> bool:
    """Returns whether the steps are those of a LightningModule."""
    trains = config.mode is Mode.TRAIN and source.training_step is None
    return trains and is_module(original(model))


def completed(build_model: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    """Returns a builder that also calls configure_model, as Lightning does before placement."""

    def build() -> nn.Module:
        model = build_model()
        if is_module(model):
            call_hook(model, "configure_model")
        return model

    return build


def wants_target(source: ModelSource, config: StepConfig, model: nn.Module) -> bool:
    """Returns whether the named inputs are only those of forward, and training_step unpacks more.

    The first use of the batch in training_step decides this; nothing is computed for it.
    """
    if not drives(source, config, model):
        return False
    model = original(model)
    if not config.inputs or any(spec.name is not None for spec in config.inputs):
        return False
    if len(config.inputs) != forward.required_inputs(model):
        return False
    try:
        training_step(model, _Probe(), 0)
    except _UnpackedError:
        return True
    except Exception:
        return False  # another use of the batch: it is passed on unchanged
    return False


class _UnpackedError(BaseException):
    """A batch was unpacked; the user's `except Exception` does not catch it."""


class _Probe:
    """A stand-in for a batch that shows how it is used."""

    def __iter__(self) -> Any:
        raise _UnpackedError

    def __getitem__(self, key: object) -> Any:
        raise _UnpackedError


def placed(model: nn.Module, device: torch.device) -> None:
    """Updates modules that keep their own record of device and dtype."""
    for module in model.modules():
        if any(base.__name__ == _PLACED for base in type(module).__mro__):
            kept = next((p for p in module.parameters() if p.is_floating_point()), None)
            vars(module)["_device"] = device
            if kept is not None:
                vars(module)["_dtype"] = kept.dtype


class Steps:
    """The steps of one module. `attach` comes before the first `run`."""

    def __init__(
        self,
        model: nn.Module,
        *,
        accumulate: int,
        scaler: torch.amp.GradScaler | None,
        clip_grad_norm: float | None = None,
    ) -> None:
        self._model: Any = original(model)
        self._step = partial(training_step, self._model)
        if self._model is not model:  # as Lightning trains a compiled module
            compiled: Any = model
            self._step = compiled.dynamo_ctx(self._step)
        self._accumulate = accumulate
        self._calls = 0
        self._given: Any = None
        self._trainer = Trainer(self._model, accumulate, scaler)
        self._trainer.gradient_clip_val = clip_grad_norm
        self._started = False
        _mute(self._model, self._trainer)

    @property
    def name(self) -> str:
        """The module's class."""
        return type(self._model).__name__

    @property
    def is_automatic(self) -> bool:
        """Whether Lightning, and not training_step, makes backward and the optimizer steps."""
        return bool(getattr(self._model, "automatic_optimization", True))

    def description(self, optimizer: str | None) -> str:
        """Returns a sentence on the step's origin; `optimizer` None: the module's own optimizer."""
        source = optimizer or f"{self.name}.configure_optimizers"
        how = "" if self.is_automatic else ", which steps by itself (manual optimization)"
        return (
            f"step: {self.name}.training_step{how}, with {source}, in a loop like Lightning's; "
            "its Trainer is a stand-in: nothing is logged, no callback runs"
        )

    def configured(self) -> Any:
        """Returns the result of configure_optimizers.

        Raises:
            ModelError: no optimizer, or several in automatic optimization.
        """
        given = self._model.configure_optimizers()
        if given is None:
            raise ModelError(
                f"{self.name}.configure_optimizers returned None: Lightning would train nothing; "
                "return an optimizer"
            )
        check_optimizers(_without_words(given), f"{self.name}.configure_optimizers")
        number = len(optimizers_in(given))
        if self.is_automatic and number > 1:
            raise ModelError(
                f"{self.name}.configure_optimizers returned {number} optimizers; "
                "Lightning steps several only with automatic_optimization = False"
            )
        self._given = given
        return given

    def optimizer_names(self) -> str:
        """Returns the names of the optimizers that configure_optimizers gave."""
        return names_in(self._given)

    def attach(self, given: Any) -> None:
        """Sets the optimizers."""
        self._trainer.attach(given)

    def run(self, model: nn.Module, batch: Any, optimizers: Any) -> Any:
        """Runs one micro-batch, and after the last one of a step the optimizer."""
        module, index = self._model, self._calls
        self._calls += 1
        if not self._started:
            self._started = True
            for hook in ("on_fit_start", "on_train_start", "on_train_epoch_start"):
                call_hook(module, hook)
        call_hook(module, "on_train_batch_start", batch, index)
        if not self.is_automatic:
            result = self._step(batch, index)
            self._trainer.global_step += 1
        else:
            result = self._automatic(batch, index)
        call_hook(module, "on_train_batch_end", result, batch, index)
        return None

    def _automatic(self, batch: Any, index: int) -> Any:
        module, trainer = self._model, self._trainer
        (stepper,) = trainer.strategy._lightning_optimizers
        result = None

        @torch.enable_grad()
        def closure() -> Any:
            nonlocal result
            forward_begins()
            result = self._step(batch, index)
            loss = self._loss(result)
            if index % self._accumulate == 0:
                call_hook(module, "on_before_zero_grad", stepper.optimizer)
                _zero_grad(module, index, stepper)
            if loss is not None:
                trainer.strategy.backward(loss)
            result = _detached(result)
            return None if loss is None else loss.detach()

        if (index + 1) % self._accumulate:
            closure()
            return result
        own = getattr(module, "optimizer_step", None)
        if own is None:
            stepper.step(closure)
        else:
            own(0, index, stepper, closure)
        trainer.global_step += 1
        return result

    def _loss(self, result: Any) -> torch.Tensor | None:
        """Returns the loss as Lightning takes it, divided by the number of micro-batches.

        Raises:
            ModelError: `result` has no loss that backward can start from.
        """
        loss = result.get("loss") if isinstance(result, Mapping) else result
        if loss is None and not isinstance(result, Mapping):
            return None
        if not isinstance(loss, torch.Tensor):
            raise ModelError(
                f"{self.name}.training_step returned a {type(result).__name__} without a loss; "
                'return a scalar tensor, or a dict with one as "loss"'
            )
        return loss / self._accumulate if self._accumulate > 1 else loss


def training_step(model: nn.Module, batch: Any, index: int) -> Any:
    """Calls the module's own training_step(batch, batch_idx), or training_step(batch)."""
    step: Any = model.training_step
    code = getattr(step, "__code__", None)
    if code is not None and code.co_argcount == 2 and not code.co_flags & inspect.CO_VARARGS:
        return step(batch)
    return step(batch, index)


def _zero_grad(module: Any, index: int, stepper: Any) -> None:
    own = getattr(module, "optimizer_zero_grad", None)
    if own is None:
        stepper.zero_grad()
    else:
        own(0, index, stepper.optimizer)


def _detached(result: Any) -> Any:
    """Returns the result without the loss's graph, as on_train_batch_end gets it in Lightning."""
    if isinstance(result, torch.Tensor):
        return result.detach()
    if isinstance(result, Mapping) and isinstance(result.get("loss"), torch.Tensor):
        return {**result, "loss": result["loss"].detach()}
    return result


def _without_words(given: Any) -> Any:
    """Returns the optimizers and schedulers without a scheduler's options ("interval": "step")."""
    if isinstance(given, Mapping):
        kept = ("optimizer", "lr_scheduler", "scheduler")
        return {key: _without_words(value) for key, value in given.items() if key in kept}
    if isinstance(given, (tuple, list)):
        return [_without_words(value) for value in given]
    return given


def _mute(model: nn.Module, trainer: Trainer) -> None:
    """Gives the trainer to the module and its submodules, and discards their logs."""
    for module in model.modules():
        if not any(base.__name__ == _CLASS for base in type(module).__mro__):
            continue
        own = vars(module)
        own["_trainer"] = trainer
        if not hasattr(type(module), "trainer"):
            own["trainer"] = trainer
        own["log"] = own["log_dict"] = own["print"] = Mute()
        if not hasattr(type(module), "optimizers"):
            own["optimizers"] = _optimizers(trainer)
        if not hasattr(type(module), "manual_backward"):
            own["manual_backward"] = _manual_backward(trainer)


def _optimizers(trainer: Trainer) -> Any:
    def optimizers(use_pl_optimizer: bool = True) -> Any:
        found = trainer.strategy._lightning_optimizers
        return found[0] if len(found) == 1 else list(found)

    return optimizers


def _manual_backward(trainer: Trainer) -> Any:
    def manual_backward(loss: torch.Tensor, *args: Any, **kwargs: Any) -> None:
        trainer.strategy.backward(loss, None, *args, **kwargs)

    return manual_backward
