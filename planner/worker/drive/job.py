"""The maker of the step: the loop, the user's training_step, or a LightningModule.

In: ModelSource, StepConfig, the model on the card. Out: Job. Convention: the model file and the
call come before a LightningModule's own functions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from planner.config.step import Mode, OptimizerName, Precision, StepConfig
from planner.errors import UsageError
from planner.worker.drive import lightning
from planner.worker.model import precision
from planner.worker.model.pipeline_model import PipelineModel
from planner.worker.optimizers.choice import Chosen, choose
from planner.worker.target.source import ModelSource, owns_step


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """The way in which steps are made. `choose` makes the optimizers, after the model is complete.

    The other fields are those of loop.StepPlan.
    """

    choose: Callable[[], Chosen]
    training_step: Callable[..., Any] | None = None
    owns_step: bool = False
    owns_autocast: bool = False
    origin: str = "training_step"
    scaler: torch.amp.GradScaler | None = None
    assumptions: tuple[str, ...] = ()


def job_of(
    source: ModelSource,
    config: StepConfig,
    model: nn.Module,
    device: torch.device,
    *,
    real_values: bool = False,
) -> Job:
    """Returns the job of this target.

    Raises:
        UsageError: an option that a step of this kind cannot use.
    """
    if config.mode is Mode.TRAIN and isinstance(model, PipelineModel):
        raise UsageError(
            "build_pipeline() makes a pipeline of several models, which is run in inference alone: "
            "add --mode infer"
        )
    if config.mode is not Mode.TRAIN:
        return Job(choose=lambda: Chosen(optimizer=None, name="none"))
    scaler = precision.grad_scaler(config, device, real_values=real_values)
    step = source.training_step
    if lightning.drives(source, config, model):
        return _of_lightning(source, config, model, scaler)
    if step is None or not owns_step(step):
        return Job(
            choose=lambda: choose(source, config, model, real_values=real_values),
            training_step=step,
            scaler=scaler,
        )
    _check(config, "training_step(model, batch, optimizers)")
    return Job(
        choose=lambda: choose(source, config, model),
        training_step=step,
        owns_step=True,
        assumptions=_unused(config),
    )


def _of_lightning(
    source: ModelSource,
    config: StepConfig,
    model: nn.Module,
    scaler: torch.amp.GradScaler | None,
) -> Job:
    steps = lightning.Steps(
        model,
        accumulate=config.accumulate,
        scaler=scaler,
        clip_grad_norm=config.clip_grad_norm,
    )
    if config.optimizer_in_backward:
        raise UsageError(
            "the optimizer was to step in backward (--optimizer-in-backward), but Lightning's "
            f"loop steps that of {steps.name}: leave it out, or give the model file a training_step"
        )
    _check_offload(config, f"{steps.name}, with Lightning's loop,")
    if not steps.is_automatic:
        _check(config, f"{steps.name} with automatic_optimization = False")

    other = None if source.build_optimizer is None else "build_optimizer"
    if config.optimizer is not None:
        other = f"--optimizer {config.optimizer.value}"

    def chosen() -> Chosen:
        if other is not None:
            found = choose(source, config, model)
        else:
            found = Chosen(optimizer=steps.configured(), name=steps.optimizer_names())
        steps.attach(found.optimizer)
        return found

    return Job(
        choose=chosen,
        training_step=steps.run,
        owns_step=True,
        owns_autocast=not steps.is_automatic,
        origin=f"{steps.name}.training_step",
        scaler=scaler,
        assumptions=(steps.description(other),),
    )


def _check(config: StepConfig, step: str) -> None:
    if config.accumulate > 1:
        raise UsageError(
            f"gradient accumulation was asked for (--accumulate), but {step} "
            "does the whole step itself: accumulate in it, over parts of its batch, or leave "
            "--accumulate out"
        )
    if config.clip_grad_norm is not None:
        raise UsageError(
            f"clipping was asked for (--clip-grad-norm {config.clip_grad_norm:g}), but {step} does "
            "the whole step itself: clip in it, or leave --clip-grad-norm out"
        )
    if config.optimizer_in_backward:
        raise UsageError(
            f"the optimizer was to step in backward (--optimizer-in-backward), but {step} steps it "
            "itself: do so in it, or leave --optimizer-in-backward out"
        )
    _check_offload(config, step)
    if config.optimizer is OptimizerName.NONE:
        raise UsageError(
            f"optimizer none was asked for, but {step} steps the optimizers itself: name one, or "
            "leave --optimizer out"
        )


def _check_offload(config: StepConfig, step: str) -> None:
    if config.offload:
        raise UsageError(
            f"an offload was asked for (--offload {config.offload[0].value}), but {step} does the "
            "whole step itself: offload in it, or leave --offload out"
        )


def _unused(config: StepConfig) -> tuple[str, ...]:
    """Returns notes on options that the step itself decides."""
    notes = []
    if config.precision is Precision.AMP_FP16:
        notes.append(
            "training_step does the whole step: amp-fp16 puts autocast around it, without a "
            "GradScaler"
        )
    if not config.set_to_none:
        notes.append("training_step calls zero_grad itself: set_to_none=False has no effect")
    return tuple(notes)
