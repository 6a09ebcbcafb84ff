"""Makes a step ready to run: the one place where its plan is put together.

In: ModelSource, StepConfig, a model on its device. Out: PreparedStep. Convention: the order is that
of an ordinary script (mode, checkpointing, training step, batch), because each may take memory; the
caller adds the optimizer afterwards, as an ordinary script does.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import torch
from torch import nn

from planner.config.step import Mode, StepConfig
from planner.errors import UsageError
from planner.worker.drive import activation_offload, forward, lightning
from planner.worker.drive.activation_offload import ActivationOffload
from planner.worker.drive.batch import plan_batch
from planner.worker.drive.job import Job, job_of
from planner.worker.drive.loop import StepPlan
from planner.worker.model import compiled, precision
from planner.worker.model.checkpointing import checkpoint_activations
from planner.worker.model.chunked_loss import chunked_loss
from planner.worker.target.source import ModelSource

if TYPE_CHECKING:
    from planner.worker.ranks.world import World


class Noted(Protocol):
    """The assumptions and warnings of a part of the work; `notes` are as in StepTrace."""

    @property
    def notes(self) -> tuple[str, ...]: ...

    @property
    def assumptions(self) -> tuple[str, ...]: ...

    @property
    def warnings(self) -> tuple[str, ...]: ...


@dataclass(slots=True, kw_only=True)
class StepLog:
    """The sentences and the current activity of a run; it outlives a failure."""

    during: str = "build"
    assumptions: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def add(self, noted: Noted) -> None:
        """Adds the assumptions and warnings of a part of the work."""
        self.assumptions += noted.assumptions
        self.notes += noted.notes
        self.warnings += noted.warnings


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedStep:
    """A step that lacks only its optimizer; `job` chooses it."""

    plan: StepPlan
    job: Job


def prepare(
    source: ModelSource,
    config: StepConfig,
    model: nn.Module,
    device: torch.device,
    log: StepLog,
    *,
    real_values: bool = False,
    world: World | None = None,
) -> PreparedStep:
    """Makes the model ready for its steps, and determines batch and step.

    With a `world`, the step is that of one of its ranks.

    Raises:
        TargetError: the target says nothing about its input.
        UsageError: an option that cannot be used with this model.
    """
    log.assumptions += source.assumptions
    if config.mode is Mode.TRAIN and not model.training:
        model.train()
        log.assumptions.append("model.train() was called: the model came in evaluation mode")
    is_checkpointed = world is not None and bool(world.staged)  # before its blocks were dealt out
    if (config.checkpoint_activations or config.checkpoint_blocks is not None) and (
        not is_checkpointed
    ):
        log.add(checkpoint_activations(model, source.checkpoint, config.checkpoint_blocks))
    pieces = config.chunked_loss
    chunks = None if pieces is None else chunked_loss(model, pieces)
    if chunks is not None:
        log.assumptions.append(chunks.words)
    offload = _activation_offload(config, model, device, real_values=real_values)
    if offload is not None:
        log.assumptions.append(activation_offload.WORDS)
    compiled.check(config, device, is_real=real_values)
    mode = config.compile if config.compiles else None
    if mode is not None and lightning.drives(source, config, model):
        model, mode = compiled.compiled_wrapper(model, mode), None
    job = job_of(source, config, model, device, real_values=real_values)
    log.assumptions += job.assumptions
    called = model
    if world is not None:
        from planner.worker.ranks import plan as ranks  # of several GPUs alone

        called, said = ranks.wrapped(source, config, world, model)
        log.assumptions += said
    if mode is not None:
        called = compiled.compiled_in_place(called, mode)
    log.during = "batch"
    with_target = lightning.wants_target(source, config, model)
    batch = plan_batch(source, config, device, real_values=real_values, with_target=with_target)
    log.add(batch)
    plan = StepPlan(
        model=called,
        make_batch=batch.make,
        config=config,
        device=device,
        required_inputs=forward.required_inputs(model),
        autocast=precision.autocast(config, device),
        scaler=job.scaler,
        training_step=job.training_step,
        owns_step=job.owns_step,
        owns_autocast=job.owns_autocast,
        origin=job.origin,
        inference_step=source.inference_step,
        chunked_loss=chunks,
        offload=offload,
    )
    if world is not None:
        plan = ranks.of_a_rank(plan, source, world)
    return PreparedStep(plan=plan, job=job)


def _activation_offload(
    config: StepConfig, model: nn.Module, device: torch.device, *, real_values: bool
) -> ActivationOffload | None:
    """Returns what takes saved tensors to the host; None: they stay on the card.

    Raises:
        UsageError: there is no card, or the model is compiled.
    """
    if not config.offload or config.pipeline_offload is not None:
        return None
    asked = f"an offload was asked for (--offload {config.offload[0].value})"
    if device.type != "cuda":
        raise UsageError(f"{asked}, and the step runs on the CPU: leave one of the two out")
    if not config.offloads_activations:
        return None
    if compiled.has_compiled_parts(model):
        raise UsageError(f"{asked}, and the model is compiled: leave one of the two out")
    return ActivationOffload(real_values=real_values)
