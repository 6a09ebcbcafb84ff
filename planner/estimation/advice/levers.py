"""All levers, a list from each subject.

In: Subject, the step as it was run. Out: LeverRows. Convention: a lever that cannot apply says why.
"""

from __future__ import annotations

from collections.abc import Callable

from planner.estimation.advice.lever_row import LeverRow, Subject
from planner.estimation.advice.memory_levers import (
    of_activations,
    of_micro_batches,
    of_the_allocator,
    of_the_input,
    of_the_loss,
)
from planner.estimation.advice.model_levers import (
    of_precision,
    of_the_compiler,
    of_the_file,
    of_the_task,
)
from planner.estimation.advice.offload_levers import of_the_host
from planner.estimation.advice.optimizer_levers import of_the_optimizer
from planner.estimation.advice.pipeline_levers import of_a_pipeline, of_quantised_weights


def lever_rows(subject: Subject) -> tuple[LeverRow, ...]:
    """Returns all levers."""
    makers: tuple[Callable[[Subject], list[LeverRow]], ...] = (
        of_the_allocator, of_activations, of_micro_batches, of_precision, of_the_optimizer,
        of_the_loss, of_the_input, of_the_compiler, of_the_task,
        of_quantised_weights, of_a_pipeline, of_the_file, of_the_host,
    )  # fmt: skip
    return tuple(row for make in makers for row in make(subject))
