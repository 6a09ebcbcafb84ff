"""Opens the model of a published step on its emulated card, in the environment of its source.

In: a Step. Out: a child that has loaded the model, and what it is to run. Convention: trouble is
one line of text.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from benchmarks.record.environments import REPOSITORY
from benchmarks.record.records import Step
from planner.config.parse import step_config
from planner.config.step import StepConfig
from planner.config.target import Target, parse_target
from planner.emulator.build import emulated_device
from planner.emulator.torch_install import find_torch
from planner.errors import PlannerError
from planner.estimation.context import ProfileFactory
from planner.memory.budget import MemoryBudget, memory_budgets
from planner.process.client import Runner

_TIMEOUT_S = 1800.0
TROUBLES = (PlannerError, ImportError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A child that has loaded the model of a step."""

    runner: Runner
    cards: ProfileFactory


@contextmanager
def opened(step: Step, budget: MemoryBudget) -> Iterator[Opened]:
    """Loads the model; ends the child with the context.

    Raises:
        PlannerError: the model cannot be loaded.
    """
    torch = find_torch()
    cards = ProfileFactory(torch=torch, device=emulated_device(torch))
    with Runner(
        target_of(step),
        device=cards.device,
        profile=cards.unlimited(budget),
        timeout_s=_TIMEOUT_S,
        environment=dict(step.variables),
    ) as runner:
        runner.wait_loaded()
        yield Opened(runner=runner, cards=cards)


def target_of(step: Step) -> Target:
    """Returns the model file with the arguments of its build_model."""
    return parse_target(str(REPOSITORY / step.model_file), step.arguments)


def config_of(step: Step) -> StepConfig:
    """Returns how the step is run."""
    options = {**dict(step.options), "batch_size": step.batch_size}
    if step.image_size is not None:
        options["inputs"] = f"3x{step.image_size}x{step.image_size}"
    return step_config(options)


def card_budget(card: str, usable_bytes: int | None = None) -> MemoryBudget:
    """Returns the memory of a card, with other usable memory than in its record if given."""
    (budget,) = memory_budgets([card], hardware_db=None, gpu_memory=usable_bytes, reserve=0)
    return budget


def first_line(error: Exception) -> str:
    """Returns the trouble of an error."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:200]
