"""Whether a target generates tokens, and by what runs it is answered then.

In: EstimateRequest, AllocatorPlan. Out: a function that wraps the runs of a child.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from planner.config.generation import TokenWindow
from planner.config.published import Library
from planner.config.step import StepConfig
from planner.config.target import Target
from planner.estimation.alloc_conf import AllocatorPlan
from planner.estimation.request import EstimateRequest, ModelRequest
from planner.process.step_runner import StepRunner

MOST_RUN = 256  # tokens of a generation that is run whole: 10 to 20 s for each run
Wrapped = Callable[[StepRunner], StepRunner]


def new_tokens_of(target: object) -> int | None:
    """Returns the tokens that the step of a target writes; None: it does not generate."""
    published = target.published if isinstance(target, Target) else None
    if published is None or published.library is Library.DIFFUSERS:
        return None  # a pipeline makes images
    return published.task.tokens_written or None


def prompt_alone(asked: ModelRequest) -> tuple[StepConfig, tuple[str, ...]]:
    """Returns the step with the prompt of a generation alone, and a sentence on it; else as is."""
    if new_tokens_of(asked.target) is None:
        return asked.config, ()
    window = TokenWindow(skipped=0, tokens=1)
    return replace(asked.config, window=window), (
        "the prompt and its first token are counted; each later one is a forward of one token",
    )


def is_run_whole(asked: EstimateRequest) -> bool:
    """Returns whether a card with its limit runs the whole step."""
    return (new_tokens_of(asked.target) or 0) <= MOST_RUN


def runs_of(asked: EstimateRequest, plan: AllocatorPlan) -> Wrapped:
    """Returns what makes of the runs of a child those of the step; on several GPUs they are."""
    tokens = new_tokens_of(asked.target)
    if tokens is None or asked.config.parallel is not None:
        return lambda runner: runner
    from planner.estimation.generation.runner import GenerationRunner

    written = tokens
    return lambda runner: GenerationRunner(inner=runner, tokens=written, settings=plan.in_force)
