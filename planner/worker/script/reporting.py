"""Makes the report of a script's process: a StepTrace like that of a planned step.

In: what was seen of the script, its peaks, its values, its recording. Out: ScriptReport.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from planner.wire.jobs import RunAnswer
from planner.wire.script import ScriptEnd, ScriptReport
from planner.wire.texts import sendable
from planner.wire.trace import (
    AllocationTrace,
    Counts,
    Failure,
    RequestLog,
    RunOutcome,
    StepTrace,
)
from planner.worker.drive import token_loop
from planner.worker.drive.batch_objects import samples_in, tensors_of_batch
from planner.worker.drive.token_loop import loops
from planner.worker.model import compiled
from planner.worker.model.construct import count
from planner.worker.ranks.communication import CommunicationLog
from planner.worker.script.counting import StepCounting
from planner.worker.script.true_peaks import TruePeaks
from planner.worker.serve.device_facts import with_device_facts
from planner.worker.serve.failures import is_out_of_memory
from planner.worker.target.frames import text_of, user_frames
from planner.worker.values.passes import PassOfValues


@dataclass(slots=True, kw_only=True)
class Seen:
    """What was seen of a script so far."""

    profile_note: str | None
    models: list[nn.Module] = field(default_factory=list)
    modules: set[int] = field(default_factory=set)  # of all models, by id
    optimizers: dict[int, Any] = field(default_factory=dict)  # that have stepped
    steps: int = 0
    backwards: int = 0  # since the last step
    micro_batches: int = 1  # of the last step
    batch_size: int | None = None
    batch_from: str = ""
    autocast: torch.dtype | None = None
    error: BaseException | None = None
    refusal: str = ""

    @property
    def all_models(self) -> nn.Module | None:
        """Returns the models as one; None without any."""
        if len(self.models) < 2:
            return self.models[0] if self.models else None
        return nn.ModuleList(self.models)

    def add(self, model: nn.Module) -> str:
        """Adds a model; returns the path of its modules: "" for the first, else a name."""
        self.modules.update(id(module) for module in model.modules())
        self.models.append(model)
        name = type(model).__name__
        alike = sum(type(one) is type(model) for one in self.models)
        return "" if len(self.models) == 1 else f"{name}_{alike}" if alike > 1 else name

    def end_step(self, steps: int) -> None:
        """Notes the end of an optimizer's step."""
        self.steps = steps
        self.micro_batches, self.backwards = max(1, self.backwards), 0

    def note_batch(self, inputs: Any) -> None:
        """Takes the batch size from the first call of the model."""
        if self.batch_size is not None:
            return
        reported = samples_in(inputs[0][0]) if inputs[0] else None
        sizes = [int(one.shape[0]) for _, one in tensors_of_batch(inputs) if one.dim()]
        if reported is not None or sizes:
            self.batch_size = sizes[0] if reported is None else reported
            self.batch_from = f"the first input of {type(self.models[0]).__name__}"


def report_of(
    end: ScriptEnd,
    *,
    seen: Seen,
    peaks: TruePeaks,
    values: PassOfValues,
    recorded: tuple[AllocationTrace | None, RequestLog | None],
    counting: StepCounting | None,
    loader_batch_size: int | None,
    saved: Sequence[str],
    optimizers: Sequence[str],
    messages: CommunicationLog | None = None,
) -> ScriptReport:
    """Returns the report of this process at its end.

    `optimizers` are the classes of those that it made; `messages` are those to other ranks.
    """
    found = RunAnswer(
        trace=_trace(seen, peaks, messages), allocations=recorded[0], requests=recorded[1]
    )
    unsupported = () if seen.profile_note is None else (seen.profile_note,)
    answer = with_device_facts(found, values, unsupported)
    one_optimizer = len(seen.optimizers) == 1
    batch_size = seen.batch_size or loader_batch_size
    return ScriptReport(
        end=end,
        answer=answer,
        steps=seen.steps,
        torch=str(torch.__version__),
        cuda=torch.version.cuda or "",
        python=sys.version.split()[0],
        micro_batches=seen.micro_batches if one_optimizer else 1,
        batch_size=batch_size,
        batch_from=seen.batch_from or ("the DataLoader" if loader_batch_size else ""),
        loader_batch_size=loader_batch_size,
        autocast="" if seen.autocast is None else str(seen.autocast).removeprefix("torch."),
        used_card=torch.cuda.is_initialized(),  # type: ignore[no-untyped-call] # untyped in torch
        recovered_out_of_memory=peaks.out_of_memory if seen.error is None else 0,
        counted=None
        if counting is None
        else counting.found(seen.all_models, batch_size or 1, messages),
        refusal=seen.refusal,
        saved=tuple(dict.fromkeys(saved)),
        strategy=_strategy(seen),
        called_backward=seen.backwards > 0,
        idle_optimizers=() if seen.optimizers else tuple(optimizers),
    )


def _strategy(seen: Seen) -> str:
    """Returns how the first model that is spread over ranks is spread; "": none is."""
    names = {base.__name__ for model in seen.models for base in type(model).__mro__}
    owners = {type(one).__name__ for one in seen.optimizers.values()}
    if "DistributedDataParallel" in names:
        return "zero1" if "ZeroRedundancyOptimizer" in owners else "ddp"
    return "fsdp" if names & {"FSDPModule", "FullyShardedDataParallel"} else ""


def _stage_words() -> tuple[str, ...]:
    """Says which stages of a pipeline the script has had; others hold other memory."""
    votes = sys.modules.get("planner.worker.ranks.pipeline.votes")
    found = () if votes is None else votes.stages_that_voted()
    if not found:
        return ()
    stages = " and ".join(str(stage) for stage, _ in found)
    return (
        f"the script's rank has stage {stages} of {found[0][1]} of a pipeline: ranks with other "
        "stages hold other memory, and may need more (planner estimate --parallel pp runs each)",
    )


def _trace(seen: Seen, peaks: TruePeaks, messages: CommunicationLog | None) -> StepTrace:
    failure, outcome = None, RunOutcome.COMPLETED
    if seen.error is not None:
        failure = _failure(seen.error, seen.steps)
        out_of_memory = is_out_of_memory(seen.error)
        outcome = RunOutcome.OUT_OF_MEMORY if out_of_memory else RunOutcome.MODEL_ERROR
    return StepTrace(
        outcome=outcome,
        batch_size=seen.batch_size or 1,
        peak_allocated_bytes=peaks.allocated_bytes,
        peak_active_bytes=peaks.active_bytes,
        peak_reserved_bytes=peaks.reserved_bytes,
        alloc_retries=peaks.alloc_retries,
        optimizer=_names(seen.optimizers.values()),
        counts=_counts(seen.all_models),
        assumptions=tuple(_assumptions(seen)),
        warnings=_stage_words(),
        failure=failure,
        communicators=() if messages is None else messages.communicators(),
    )


def _assumptions(seen: Seen) -> Iterator[str]:
    if _is_compiled(seen.all_models):
        yield compiled.words()
    if loops.has_run:
        yield token_loop.WORDS


def _failure(error: BaseException, steps: int) -> Failure:
    return Failure(
        kind=type(error).__name__,
        message=sendable(text_of(error)),
        frames=sendable(user_frames(error)),
        during=f"step {steps + 1}",
    )


def _counts(model: nn.Module | None) -> Counts | None:
    try:
        return None if model is None else count(model)
    except (RuntimeError, ValueError):  # a parameter without a shape yet
        return None


def _is_compiled(model: nn.Module | None) -> bool:
    return model is not None and (
        compiled.has_compiled_parts(model) or compiled.compiled_graphs() > 0
    )


def _names(optimizers: Any) -> str:
    return ", ".join(dict.fromkeys(type(one).__name__ for one in optimizers))
