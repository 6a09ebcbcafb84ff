"""The result of `planner parallelize`: which strategy on these GPUs, and why not the others.

In: figures of the spreads. Out: Parallelization. Sizes in bytes, times in seconds. A spread is a
way to use the GPUs: a strategy with its degrees, activation checkpointing, and a micro-batch.
The JSON form is a contract (schema_version 1): keys are added, never changed or removed.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from planner.config.step import StepConfig
from planner.config.target import Scalar
from planner.config.weights import WeightDtype
from planner.results.advice import Lever
from planner.results.estimate import (
    SCHEMA_VERSION,
    Versions,
    asked_config_dict,
    weight_documents,
)
from planner.results.result import Result
from planner.results.shown import Shown
from planner.results.values import NO_VALUES_READ, ValuesResult

if TYPE_CHECKING:
    from planner.results.schema.parallelization import (
        HeldBytesDocument,
        ParallelizationDocument,
        ParallelPlanDocument,
        SmallestDocument,
        SpreadDocument,
    )


class PreferBy(str, Enum):
    """What the plan is the best in."""

    TIME = "time"
    """Most samples a second, on all GPUs."""
    COST = "cost"
    """Least rent for a sample, also on fewer of the GPUs."""


class SpreadState(str, Enum):
    """What became of a spread."""

    FITS = "fits"
    """A run of it, without a limit, takes no more than the card has."""
    TOO_LARGE = "does not fit"
    """It takes more than the card has; `over_bytes` says how much."""
    SLOWER = "slower"
    """It was not run: by arithmetic it is slower than one that fits."""
    FAILED = "failed"
    """The step does not run so; the reason says why."""
    CANNOT_APPLY = "cannot apply"
    """It does not go with the model or the options; the reason says why."""
    NOT_RUN = "not run"
    """It might fit, and enough others were run; the reason says more."""


class SpreadMethod(str, Enum):
    """Where the figures of a spread are from."""

    ARITHMETIC = "arithmetic"
    """What lasts through a step, from one run on one card, divided by the degrees; operators of
    that run; messages from the sizes of what is sent."""
    RUN = "emulated run"
    """Runs and counts of the rank with most memory; the largest micro-batch by replay."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldBytes:
    """What lasts through an optimizer step, in bytes, of a whole model on one card."""

    levers: tuple[str, ...]
    """Names of the levers that the step was run with; none: as requested."""
    parameter_bytes: int
    """Parameters."""
    gradient_bytes: int
    """Gradients."""
    optimizer_bytes: int
    """State of the optimizer."""

    @property
    def total_bytes(self) -> int:
        """Returns the sum."""
        return self.parameter_bytes + self.gradient_bytes + self.optimizer_bytes

    def to_dict(self) -> HeldBytesDocument:
        """Returns the entry of the JSON list `held`."""
        return {
            "levers": list(self.levers),
            "parameter_bytes": self.parameter_bytes,
            "gradient_bytes": self.gradient_bytes,
            "optimizer_bytes": self.optimizer_bytes,
            "total_bytes": self.total_bytes,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class SpreadTrial:
    """One way to use the GPUs, and its figures; those of one card are of the worst rank."""

    gpus: int
    """GPUs of the job."""
    hosts: int
    """Machines."""
    parallel: str
    """Strategy with its degrees, in the words of `--parallel`; "": one GPU."""
    arguments: tuple[str, ...]
    """Knobs in the words of `--parallel-arg`."""
    checkpoint: str
    """Blocks that are computed again in backward: "none", "every:2" or "all"."""
    levers: tuple[str, ...]
    """Names of other levers."""
    state: SpreadState
    """What became of it."""
    reason: str = ""
    """Why, in a sentence; "" where the state says all."""
    method: SpreadMethod = SpreadMethod.ARITHMETIC
    """Where the figures are from."""
    batch_size: int | None = None
    """Samples of a micro-batch of one rank; None: no figures."""
    accumulate: int | None = None
    """Micro-batches of an optimizer step; None: no figures."""
    max_batch_size: int | None = None
    """Largest micro-batch that fits, by replay; 0: none; None: not searched."""
    device_total_bytes: int | None = None
    """Memory of a card that it takes; of ARITHMETIC at least so much; None: not known."""
    over_bytes: int | None = None
    """Bytes beyond the usable memory; of ARITHMETIC at least so many; None: it fits, or not
    known."""
    step_s: float | None = None
    """Seconds of an optimizer step; None: not known."""
    samples_per_s: float | None = None
    """Throughput of the whole job; None: not known."""
    slower_factor: float | None = None
    """Time for a sample over that of the plan; above 1 is slower; None: not known."""
    cost_per_million: tuple[float, float] | None = None
    """Rent of all GPUs for a million samples, low and high; None: not known."""

    @property
    def words(self) -> str:
        """Returns `fsdp=8, reshard_after_forward=false, checkpointing all, micro-batch 2 x 4`."""
        named = [self.parallel or "one GPU", *self.arguments]
        if self.checkpoint != "none":
            named.append(f"checkpointing {self.checkpoint}")
        named += self.levers
        if self.batch_size is not None:
            times = f" x {self.accumulate}" if (self.accumulate or 1) > 1 else ""
            named.append(f"micro-batch {self.batch_size}{times}")
        return ", ".join(named)

    def to_dict(self) -> SpreadDocument:
        """Returns the entry of the JSON list `spreads`."""
        cost = self.cost_per_million
        return {
            "gpus": self.gpus,
            "hosts": self.hosts,
            "parallel": self.parallel,
            "arguments": list(self.arguments),
            "checkpoint": self.checkpoint,
            "levers": list(self.levers),
            "state": self.state.value,
            "reason": self.reason,
            "method": self.method.value,
            "batch_size": self.batch_size,
            "accumulate": self.accumulate,
            "max_batch_size": self.max_batch_size,
            "device_total_bytes": self.device_total_bytes,
            "over_bytes": self.over_bytes,
            "step_s": self.step_s,
            "samples_per_s": self.samples_per_s,
            "slower_factor": self.slower_factor,
            "cost_per_million": None if cost is None else list(cost),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ParallelPlan:
    """What to do: the spread, run with exactly these flags, and how to start it."""

    spread: SpreadTrial
    """The strategy, the micro-batch and their figures."""
    flags: tuple[str, ...]
    """The words of all that differs from the request, on the command line of planner."""
    command: str
    """The whole command of the estimate that has these figures."""
    launch: str
    """The command that starts the job on each machine."""
    code: tuple[str, ...]
    """A function parallelize(model, mesh) for a model file; empty: on one GPU, or where the model
    file has its own."""
    code_flags: tuple[str, ...]
    """Flags in place of `flags` for a model file that has this function."""
    script: tuple[str, ...]
    """Lines of code beside the function: optimizer, checkpointing, levers."""
    peak_reserved_bytes: int
    """Most bytes held by PyTorch's allocator on the worst rank."""
    usable_memory_bytes: int
    """Memory that a process can have on the card."""
    worst_rank: int
    """The rank with most memory, which the figures are of."""
    rank_reason: str
    """Why it is that one."""
    global_batch: int
    """Samples of an optimizer step of all ranks."""
    next_batch_size: int | None = None
    """The next larger micro-batch, which a run refused for memory; None: memory is not the limit,
    or it was not run."""
    tokens_per_s: float | None = None
    """Tokens a second of the job; None: no sequence length is known."""
    currency: str | None = None
    """Of the cost; None: no rent is known."""

    @property
    def samples_per_s_per_gpu(self) -> float | None:
        """Returns the throughput of one GPU; None: not known."""
        rate = self.spread.samples_per_s
        return None if rate is None else rate / self.spread.gpus

    @property
    def tokens_per_s_per_gpu(self) -> float | None:
        """Returns the tokens a second of one GPU; None: not known."""
        return None if self.tokens_per_s is None else self.tokens_per_s / self.spread.gpus

    def to_dict(self) -> ParallelPlanDocument:
        """Returns the JSON object `plan`."""
        return {
            **self.spread.to_dict(),
            "flags": list(self.flags),
            "command": self.command,
            "launch": self.launch,
            "code": list(self.code),
            "code_flags": list(self.code_flags),
            "script": list(self.script),
            "peak_reserved_bytes": self.peak_reserved_bytes,
            "usable_memory_bytes": self.usable_memory_bytes,
            "worst_rank": self.worst_rank,
            "rank_reason": self.rank_reason,
            "global_batch": self.global_batch,
            "next_batch_size": self.next_batch_size,
            "samples_per_s_per_gpu": self.samples_per_s_per_gpu,
            "tokens_per_s": self.tokens_per_s,
            "tokens_per_s_per_gpu": self.tokens_per_s_per_gpu,
            "currency": self.currency,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class SmallestJob:
    """The fewest of these cards that fit: powers of two within a machine, then whole machines.

    Sharded by FSDP, every block checkpointed, one sample a micro-batch.
    """

    levers: tuple[str, ...]
    """Names of the levers; none: the training as requested."""
    gpus: int | None
    """GPUs; None: none of the numbers that were looked at fits; the reason says why."""
    hosts: int | None
    """Machines; None: as `gpus`."""
    device_total_bytes: int | None
    """Memory that it takes of a card without its limit, by a run; more than the card has where the
    allocator must give cached memory back. None: as `gpus`."""
    reason: str
    """Why fewer do not fit, or why none does."""

    def to_dict(self) -> SmallestDocument:
        """Returns the entry of the JSON list `smallest`."""
        return {
            "levers": list(self.levers),
            "gpus": self.gpus,
            "hosts": self.hosts,
            "device_total_bytes": self.device_total_bytes,
            "reason": self.reason,
        }


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Parallelization(Result, Shown):
    """The answer of `planner.parallelize()`: the plan, the runner-up, and why others fell out."""

    target: str
    """The model in the words of the caller, or the name of the live object."""
    by: PreferBy
    """What the plan is the best in."""
    gpu: str
    """The card in the words of the caller."""
    gpu_name: str
    """Full name of the card that was taken for it."""
    gpu_id: str
    """Id of the card's record."""
    usable_memory_bytes: int
    """Memory that a process can have on a card."""
    reserve_bytes: int
    """Memory that the caller wants to be kept free."""
    num_gpus: int
    """GPUs of the job as requested."""
    num_hosts: int
    """Machines of the job as requested."""
    global_batch: int | None
    """Samples of an optimizer step as requested; None: as many as each spread takes."""
    plan: ParallelPlan | None
    """What to do; None: nothing that was tried fits."""
    spreads: tuple[SpreadTrial, ...]
    """All spreads that were looked at; those that fit first, the best of them first: the second
    is the runner-up."""
    held: tuple[HeldBytes, ...]
    """What lasts through a step, as requested and with levers."""
    smallest: tuple[SmallestJob, ...]
    """The fewest cards that fit, as requested and with the plan's levers."""
    levers: tuple[Lever, ...]
    """The levers that the spreads name."""
    config: StepConfig
    """How the step was requested; its precision is settled."""
    versions: Versions
    """Versions of the software that made the figures."""
    assumptions: tuple[str, ...] = ()
    """Choices made for the caller, a sentence each."""
    notes: tuple[str, ...] = ()
    """Those of `assumptions` that are good to know and cannot make a figure wrong."""
    warnings: tuple[str, ...] = ()
    """Reasons to doubt figures, a sentence each."""
    engine: str = "emulated"
    """Device of the step, always "emulated"."""
    values: ValuesResult = NO_VALUES_READ
    """Values that the step reads from the card."""
    weight_dtypes: tuple[WeightDtype, ...] = ()
    """Parameters by dtype, most bytes first."""
    model_arguments: tuple[tuple[str, Scalar], ...] = ()
    """Name and value of each argument that the model was built with."""

    @property
    def fits(self) -> bool:
        """Returns whether there is a plan that fits."""
        return self.plan is not None

    @property
    def runner_up(self) -> SpreadTrial | None:
        """Returns the next best spread that fits; None: only one does, or none."""
        fit = [one for one in self.spreads if one.state is SpreadState.FITS]
        return fit[1] if len(fit) > 1 else None

    def to_dict(self) -> ParallelizationDocument:
        """Returns the JSON document, in stable order, with plain types only; best spread first."""
        runner_up = self.runner_up
        return {
            "schema_version": SCHEMA_VERSION,
            "target": self.target,
            "engine": self.engine,
            "by": self.by.value,
            "gpu": self.gpu,
            "gpu_name": self.gpu_name,
            "gpu_id": self.gpu_id,
            "versions": self.versions.to_dict(),
            "config": asked_config_dict(self.config),
            "weight_dtypes": weight_documents(self.weight_dtypes),
            "usable_memory_bytes": self.usable_memory_bytes,
            "reserve_bytes": self.reserve_bytes,
            "num_gpus": self.num_gpus,
            "num_hosts": self.num_hosts,
            "global_batch": self.global_batch,
            "plan": None if self.plan is None else self.plan.to_dict(),
            "runner_up": None if runner_up is None else runner_up.to_dict(),
            "spreads": [one.to_dict() for one in self.spreads],
            "held": [one.to_dict() for one in self.held],
            "smallest": [one.to_dict() for one in self.smallest],
            "levers": [lever.to_dict() for lever in self.levers],
            "assumptions": list(self.assumptions),
            "warnings": list(self.warnings),
            "values": self.values.to_dict(),
            "model_arguments": dict(self.model_arguments),
        }
