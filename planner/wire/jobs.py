"""The kinds of work that the child does: a job for each, and the record that answers it.

In: nothing. Out: jobs and answers, sent as JSON by wire/protocol.py. Convention: a job describes
its work in words. A new kind needs a job and its answer here, a name in `Job` and `Answer`, and a
method of `Worker` in worker/serve/session.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from planner.config.model_shapes import ModelShapes
from planner.config.step import StepConfig
from planner.wire.data_cost import DataCost
from planner.wire.module_counts import ModelCounts
from planner.wire.trace import AllocationTrace, Recording, RequestLog, StepTrace
from planner.wire.value_reads import ReadLog, ValuesRequest

AnswerT = TypeVar("AnswerT")

_NO_VALUES = ValuesRequest()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunAnswer:
    """The result of a step, and the requested recording, where it succeeded.

    Only a values pass gives a `log`.
    """

    trace: StepTrace
    allocations: AllocationTrace | None = None
    requests: RequestLog | None = None
    log: ReadLog | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NeedsValues:
    """The job ended at the read of a value, but kept no values: it must be repeated with values."""


class JobOf(Generic[AnswerT]):
    """A kind of work that is answered by an AnswerT."""

    __slots__ = ()

    answer: ClassVar[type[Any]]  # the AnswerT
    ends_all: ClassVar[bool] = False  # whether its time-out ends the child and all jobs

    @property
    def doing(self) -> str:
        """The child's activity, as "running the step with batch 4"."""
        raise NotImplementedError

    @property
    def name(self) -> str:
        """The job as a noun, as "the run with batch 4"."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True, kw_only=True)
class RunJob(JobOf[RunAnswer]):
    """Runs a step on the device of `profile` (see emulator/profile.py), with the given `recording`.

    `values` tells how it treats values on the emulated card.
    """

    answer: ClassVar[type[Any]] = RunAnswer
    ends_all: ClassVar[bool] = True

    profile: str
    config: StepConfig
    recording: Recording = Recording.NOTHING
    values: ValuesRequest = _NO_VALUES

    @property
    def doing(self) -> str:
        """See JobOf."""
        return f"running the step with batch {self.config.batch_size}"

    @property
    def name(self) -> str:
        """See JobOf."""
        return f"the run with batch {self.config.batch_size}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CountJob(JobOf[ModelCounts]):
    """Counts the cost of a step, by module down to `depth` (0: the model alone)."""

    answer: ClassVar[type[Any]] = ModelCounts

    profile: str
    config: StepConfig
    depth: int
    values: ValuesRequest = _NO_VALUES

    @property
    def doing(self) -> str:
        """See JobOf."""
        return f"counting the step with batch {self.config.batch_size}"

    @property
    def name(self) -> str:
        """See JobOf."""
        return f"the run with batch {self.config.batch_size}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DataJob(JobOf[DataCost]):
    """Times items of the user's data set for about `seconds`."""

    answer: ClassVar[type[Any]] = DataCost

    seconds: float

    @property
    def doing(self) -> str:
        """See JobOf."""
        return "timing the data set"

    @property
    def name(self) -> str:
        """See JobOf."""
        return "timing the data set"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShapesJob(JobOf[ModelShapes]):
    """Builds the published model on the meta device, for the shapes of its parameters."""

    answer: ClassVar[type[Any]] = ModelShapes

    @property
    def doing(self) -> str:
        """See JobOf."""
        return "building the model without its weights"

    @property
    def name(self) -> str:
        """See JobOf."""
        return "building the model without its weights"


Job = RunJob | CountJob | DataJob | ShapesJob
Answer = RunAnswer | ModelCounts | DataCost | ModelShapes
