"""The step that levers change, and a row of their table.

In: what a run of the step has shown. Out: Subject, LeverRow. Convention: a lever is a change of the
caller's options, so that its flags are exactly what was tried.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from planner.config.published import Library, TaskConfig
from planner.config.scalars import Scalar
from planner.config.step import Mode, Precision, StepConfig
from planner.config.weights import WeightDtype, are_mainly_float32
from planner.estimation.advice.words import flags
from planner.hardware.specs import GpuSpec
from planner.results.advice import Effect, Lever
from planner.wire.own_lever import OwnLever
from planner.wire.trace import TensorCategory


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """The step as requested.

    `optimizer` is its class; `task` that of a published model, None for another target;
    `largest_batch` the largest that fits, None: not known. `best_blocks` are those to recompute.
    `own` are the levers of the model file, `given` the arguments of its model. `categories` are
    bytes at the peak, empty where they are not known. `is_compiled`: it ran compiled code.
    """

    config: StepConfig
    weights: tuple[WeightDtype, ...]
    optimizer: str
    card: GpuSpec
    library: Library | None = None
    task: TaskConfig | None = None
    largest_batch: int | None = None
    best_blocks: tuple[str, ...] = ()
    own: tuple[OwnLever, ...] = ()
    given: tuple[tuple[str, Scalar], ...] = ()
    categories: Mapping[str, int] = field(default_factory=dict)
    is_compiled: bool = False

    @property
    def trains(self) -> bool:
        """Returns whether the step has a backward."""
        return self.config.mode is Mode.TRAIN

    @property
    def is_single(self) -> bool:
        """Returns whether the weights are float32 and nothing is cast."""
        precision = self.config.precision
        if precision in (None, Precision.AS_BUILT):
            return are_mainly_float32(self.weights)
        return precision is Precision.FP32


Words = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class LeverRow:
    """A lever of the table.

    `options` are the words that it changes. `family`: of two levers with the same family only one
    is used at a time. `cannot` is the reason why it cannot apply here, "" where it can. `is_last`:
    tried where nothing else fits, or on request. `changes_job`: it gives up something that was
    requested, like the batch. `is_reserve`: tried in combinations alone, in place of one of its
    family with less `strength`. `is_own`: of the model file. `promise` are the shares of
    categories that it may save, for the order of the trials. `excludes` are other families with
    which it is not used. `uses_host`: it moves memory to the host in each step, so a combination
    has it only where it needs it. `is_slow`: its run takes minutes.
    """

    name: str
    options: Words
    family: str
    effect: Effect
    note: str
    code: str
    cannot: str = ""
    is_last: bool = False
    changes_job: bool = False
    is_reserve: bool = False
    is_own: bool = False
    strength: int = 0
    uses_host: bool = False
    is_slow: bool = False
    promise: tuple[tuple[TensorCategory, float], ...] = ()
    excludes: tuple[str, ...] = ()

    @property
    def lever(self) -> Lever:
        """Returns the lever as a result shows it."""
        return Lever(
            name=self.name,
            flags=flags(self.options),
            code=tuple(self.code.splitlines()),
            effect=self.effect,
            note=self.note,
        )

    def promised_bytes(self, categories: Mapping[str, int]) -> float:
        """Returns the bytes that it may save, by the categories of the peak."""
        return sum(share * categories.get(category.value, 0) for category, share in self.promise)


def training_alone(subject: Subject) -> str:
    """Returns why a lever of training cannot apply; "" where it can."""
    return "" if subject.trains else "only a training step has it"
