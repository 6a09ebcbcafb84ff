"""The result of `planner advise`: changes that make a step fit, each tried, and the one to take.

In: figures of the trials. Out: Advice. Sizes in bytes, times in seconds.
The JSON form is a contract (schema_version 1): keys are added, never changed or removed.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from planner.config.step import StepConfig
from planner.config.target import Scalar
from planner.config.weights import WeightDtype
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
    from planner.results.schema.advice import (
        AdviceDocument,
        CardChoiceDocument,
        LeverDocument,
        PlanDocument,
        TrialDocument,
    )


class Goal(str, Enum):
    """What the advice shall reach."""

    FIT = "fit"
    """The smallest change with which the step fits on the card."""
    LARGEST_BATCH = "largest-batch"
    """The changes with the largest batch, without changes of large effect on training."""
    LONGEST_SEQUENCE = "longest-sequence"
    """The changes with the longest sequence at the requested batch, likewise."""
    FASTEST = "fastest"
    """The most samples a second of what fits, likewise."""
    CHEAPEST = "cheapest"
    """The least rent for a sample, also on another card."""


class Effect(str, Enum):
    """How much a change may do to training."""

    NONE = "none"
    """The same numbers, up to the order of sums."""
    SMALL = "small"
    """Rounding differs; most models train to the same quality."""
    LARGE = "large"
    """Another optimizer, other weights or other data: the training must be tried."""


class TrialState(str, Enum):
    """What became of a trial."""

    TRIED = "tried"
    """The step was run with it, or replayed; the figures are known."""
    FAILED = "failed"
    """The step does not run with it; the reason says why."""
    CANNOT_APPLY = "cannot apply"
    """It would change nothing here, or something that it needs is not there."""
    NOT_TRIED = "not tried"
    """The budget of time was used up, or it is tried only where nothing else fits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lever:
    """One change of a step."""

    name: str
    """Its name, as in `--try`."""
    flags: tuple[str, ...]
    """Its words on the command line of planner; empty: an option has to be left out."""
    code: tuple[str, ...]
    """Lines for a plain PyTorch loop."""
    effect: Effect
    """How much it may do to training."""
    note: str
    """The same in a sentence."""

    def to_dict(self) -> LeverDocument:
        """Returns the entry of the JSON list `levers`."""
        return {
            "name": self.name,
            "flags": list(self.flags),
            "code": list(self.code),
            "effect": self.effect.value,
            "note": self.note,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A lever or several, and the figures of the step with them.

    Peaks and times are those of a card with enough memory.
    """

    levers: tuple[str, ...]
    """Names of the levers; none: the step as requested."""
    state: TrialState
    """What became of it."""
    reason: str = ""
    """Why it has no figures; "" where it has."""
    method: str | None = None
    """"emulated run" or "replay"; None: no figures."""
    batch_size: int | None = None
    """Samples of a micro-batch; None: no figures."""
    peak_reserved_bytes: int | None = None
    """Most bytes held by PyTorch's allocator; None: no figures."""
    device_total_bytes: int | None = None
    """Memory of the card that the step takes; None: no figures."""
    saved_bytes: int | None = None
    """Device total of the step as requested, minus this one; None: no figures."""
    fits: bool | None = None
    """Whether it fits on the card, by this run and a replay of it; None: no figures."""
    step_s: float | None = None
    """Seconds of an optimizer step; None: not known."""
    time_factor: float | None = None
    """Time for a sample over that of the step as requested; above 1 is slower; None: not known."""
    max_batch_size: int | None = None
    """Largest batch that fits with it, by replay; 0: none; None: not searched."""
    offload_s: float | None = None
    """Seconds of the step that wait for the host; None: not known."""
    offloaded_bytes: int | None = None
    """RAM of the host in place of memory of the card; None: not known."""

    def to_dict(self) -> TrialDocument:
        """Returns the entry of the JSON list `trials`."""
        return {
            "levers": list(self.levers),
            "state": self.state.value,
            "reason": self.reason,
            "method": self.method,
            "batch_size": self.batch_size,
            "peak_reserved_bytes": self.peak_reserved_bytes,
            "device_total_bytes": self.device_total_bytes,
            "saved_bytes": self.saved_bytes,
            "fits": self.fits,
            "step_s": self.step_s,
            "time_factor": self.time_factor,
            "max_batch_size": self.max_batch_size,
            "offload_s": self.offload_s,
            "offloaded_bytes": self.offloaded_bytes,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to do. It was run on a card of that size with exactly these flags, and fits."""

    levers: tuple[str, ...]
    """Names of the levers; none: nothing has to change."""
    flags: tuple[str, ...]
    """Their words on the command line of planner."""
    command: str
    """The whole command that repeats the confirming estimate."""
    code: tuple[str, ...]
    """Lines for a plain PyTorch loop."""
    gpu: str
    """The card."""
    batch_size: int
    """Samples of a micro-batch."""
    sequence_length: int | None
    """Tokens of a sample; None: that of the model file."""
    peak_reserved_bytes: int
    """Most bytes held by PyTorch's allocator, on the card."""
    device_total_bytes: int
    """Memory of the card that the step takes."""
    usable_memory_bytes: int
    """Memory that a process can have on the card."""
    max_batch_size: int | None = None
    """Largest batch that fits; None: not searched."""
    max_batch_confirmed: bool = False
    """That batch was run and fits, and the next one was run and does not."""
    max_sequence_length: int | None = None
    """Longest sequence that fits, a multiple of 128; None: not searched."""
    max_sequence_confirmed: bool = False
    """As `max_batch_confirmed`, for the sequence."""
    step_s: float | None = None
    """Seconds of an optimizer step; None: not known."""
    time_factor: float | None = None
    """Time for a sample over that of the step as requested; None: not known."""

    def to_dict(self) -> PlanDocument:
        """Returns the JSON object `plan`."""
        return {
            "levers": list(self.levers),
            "flags": list(self.flags),
            "command": self.command,
            "code": list(self.code),
            "gpu": self.gpu,
            "batch_size": self.batch_size,
            "sequence_length": self.sequence_length,
            "peak_reserved_bytes": self.peak_reserved_bytes,
            "device_total_bytes": self.device_total_bytes,
            "usable_memory_bytes": self.usable_memory_bytes,
            "max_batch_size": self.max_batch_size,
            "max_batch_confirmed": self.max_batch_confirmed,
            "max_sequence_length": self.max_sequence_length,
            "max_sequence_confirmed": self.max_sequence_confirmed,
            "step_s": self.step_s,
            "time_factor": self.time_factor,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class CardChoice:
    """Another card on which the step fits as requested."""

    id: str
    """Id of the card's record, for `--gpu`."""
    name: str
    """Full name of the card."""
    usable_memory_bytes: int
    """Memory that a process can have on it."""
    device_total_bytes: int
    """Memory of the card that the step takes."""
    price_per_hour: tuple[float, float] | None = None
    """Rent, low and high, in `currency`; None: not known."""
    currency: str | None = None
    """Three letters; None: no rent is known."""
    step_s: float | None = None
    """Seconds of an optimizer step; None: not known."""

    @property
    def cost_per_step(self) -> float | None:
        """Returns the rent of an optimizer step, by the lowest rent; None: not known."""
        if self.price_per_hour is None or self.step_s is None:
            return None
        return self.price_per_hour[0] * self.step_s / 3600

    def to_dict(self) -> CardChoiceDocument:
        """Returns the entry of the JSON list `other_cards`."""
        price = self.price_per_hour
        return {
            "id": self.id,
            "name": self.name,
            "usable_memory_bytes": self.usable_memory_bytes,
            "device_total_bytes": self.device_total_bytes,
            "price_per_hour": None if price is None else list(price),
            "currency": self.currency,
            "step_s": self.step_s,
        }


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Advice(Result, Shown):
    """The answer of `planner.advise()`: the plan to take, and all that was tried."""

    target: str
    """The model in the words of the caller, or the name of the live object."""
    goal: Goal
    """What the advice was to reach."""
    gpu: str
    """The card in the words of the caller."""
    gpu_name: str
    """Full name of the card that was taken for it."""
    gpu_id: str
    """Id of the card's record."""
    usable_memory_bytes: int
    """Memory that a process can have on the card."""
    reserve_bytes: int
    """Memory that the caller wants to be kept free."""
    baseline: Trial
    """The step as requested."""
    plan: Plan | None
    """What to do; None: nothing that was tried fits."""
    trials: tuple[Trial, ...]
    """Single levers and combinations, the best first."""
    levers: tuple[Lever, ...]
    """The levers that the trials name."""
    other_cards: tuple[CardChoice, ...]
    """Cards on which the step fits as requested, the cheapest first; empty: none, or not
    searched."""
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

    def lever(self, name: str) -> Lever:
        """Returns the lever of that name, which a trial or the plan names."""
        return next(one for one in self.levers if one.name == name)

    def to_dict(self) -> AdviceDocument:
        """Returns the JSON document, in stable order, with plain types only; best trial first."""
        return {
            "schema_version": SCHEMA_VERSION,
            "target": self.target,
            "engine": self.engine,
            "goal": self.goal.value,
            "gpu": self.gpu,
            "gpu_name": self.gpu_name,
            "gpu_id": self.gpu_id,
            "versions": self.versions.to_dict(),
            "config": asked_config_dict(self.config),
            "weight_dtypes": weight_documents(self.weight_dtypes),
            "usable_memory_bytes": self.usable_memory_bytes,
            "reserve_bytes": self.reserve_bytes,
            "baseline": self.baseline.to_dict(),
            "plan": None if self.plan is None else self.plan.to_dict(),
            "trials": [trial.to_dict() for trial in self.trials],
            "levers": [lever.to_dict() for lever in self.levers],
            "other_cards": [card.to_dict() for card in self.other_cards],
            "assumptions": list(self.assumptions),
            "warnings": list(self.warnings),
            "values": self.values.to_dict(),
            "model_arguments": dict(self.model_arguments),
        }
