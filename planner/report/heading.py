"""The words on top of a report: how the step is run, and what the figures were made with.

In: StepConfig and Versions. Out: text. Convention: what is at its default is not said.
"""

from __future__ import annotations

from planner.results import Versions
from planner.values_result import ValuesResult
from planner.workload import Mode, StepConfig

STEPS = {Mode.TRAIN: "training", Mode.INFER: "inference"}


def step_words(config: StepConfig, optimizer: str | None) -> list[str]:
    """How the step is run, without its batch; no optimizer is named where None is given."""
    words = []
    if config.sequence_length is not None:
        words.append(f"sequence {config.sequence_length}")
    words.append(config.precision.value)
    if config.mode is Mode.TRAIN and optimizer is not None:
        words.append(f"optimizer {optimizer}")
    if config.channels_last:
        words.append("channels_last")
    if config.checkpoint_activations:
        words.append("activations checkpointed")
    return words


def any_batch(config: StepConfig) -> str:
    """One line on a step that is run at several batches."""
    step = STEPS[config.mode]
    if config.accumulate > 1:
        step += f" with {config.accumulate} batches accumulated"
    optimizer = None if config.optimizer is None else config.optimizer.value
    return ", ".join((step, *step_words(config, optimizer)))


def values_line(values: ValuesResult) -> str:
    """One line on the values that the step reads from the card."""
    return f"values read: {values.line}"


def software(versions: Versions) -> str:
    """One line on the software."""
    words = [f"torch {versions.torch}", f"CUDA {versions.cuda}"]
    if versions.cudnn is not None:
        words.append(f"cuDNN {versions.cudnn}")
    words += [f"Python {versions.python}", f"planner {versions.planner}"]
    return ", ".join(words)
