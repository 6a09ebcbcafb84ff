"""Writes options of the library as words of the command line.

In: keyword options of estimate(). Out: flags, a whole command. Convention: an option that has its
default is left out; a live object has no words.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any

from planner.config.option_words import option_of
from planner.config.step import InputSpec, StepConfig

_DEFAULTS: Mapping[str, Any] = {
    **{name: getattr(StepConfig(), name) for name in StepConfig.__dataclass_fields__},
    "reserve": "0",
    "calibration": True,
    "timeout_s": 600.0,
    "measure_data": False,
    "pin_memory": True,
    "pue": 1.0,
    "batch_size": None,  # always said
}
_NAMES = {
    "batch_size": "--batch",
    "sequence_length": "--seq",
    "timeout_s": "--timeout",
    "inputs": "--input",
    "optimizer_arguments": "--optimizer-arg",
    "model_arguments": "--model-arg",
    "parallel_arguments": "--parallel-arg",
    "set_to_none": "--no-set-to-none",
    "calibration": "--no-calibration",
    "pin_memory": "--no-pin-memory",
}
_SWITCHED_OFF = ("set_to_none", "calibration", "pin_memory")
_OF_A_CALL = ("on_progress", "build_batch", "training_step", "build_optimizer", "inference_step")


def flags(options: Mapping[str, Any]) -> tuple[str, ...]:
    """Returns the words of these options, without those that have their default."""
    found: list[str] = []
    for name, value in options.items():
        if name not in _OF_A_CALL:
            found += _flag(name, value)
    return tuple(found)


def command(target: str, gpu: str, options: Mapping[str, Any]) -> str:
    """Returns the command line of `planner estimate` for these options, with quotes if needed."""
    return shlex.join(("planner", "estimate", target, "--gpu", gpu, *flags(options)))


def _flag(name: str, value: Any) -> list[str]:
    if value is None or value == _DEFAULTS.get(name):
        return []
    option = _NAMES.get(name, option_of(name))
    if isinstance(value, bool):
        return [option] if value is not (name in _SWITCHED_OFF) else []
    if isinstance(value, Mapping):
        value = tuple(value.items())
    if name == "image" and not isinstance(value, str):
        value = "x".join(map(str, value))
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [word for one in value for word in (option, _text(one))]
    return [option, _text(value)]


def _text(value: Any) -> str:
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, InputSpec):
        return input_text(value)
    if isinstance(value, tuple):
        key, given = value
        return f"{key}={_text(given)}"
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    return str(value)


def input_text(spec: InputSpec) -> str:
    """Returns an input as `--input` takes it."""
    name = "" if spec.name is None else f"{spec.name}="
    shape = "x".join(map(str, spec.shape)) or "scalar"
    return f"{name}{shape}:{spec.dtype}"
