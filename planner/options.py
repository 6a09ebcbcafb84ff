"""The words of a caller, for StepConfig: plain values and strings, checked and turned into records.

In: keyword options of planner.estimate() or of the command line. Out: StepConfig.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import fields
from enum import Enum
from typing import Any, TypeVar

from planner.errors import UsageError
from planner.workload import (
    BuildOn,
    InputSpec,
    Mode,
    OptimizerName,
    Precision,
    Scalar,
    StepConfig,
    parse_argument,
    parse_input,
)

_Choice = TypeVar("_Choice", bound=Enum)
_CHOICES: dict[str, type[Enum]] = {
    "mode": Mode, "precision": Precision, "optimizer": OptimizerName, "build_on": BuildOn,
}  # fmt: skip
_MAY_BE_NONE = ("optimizer", "build_on", "alloc_conf")
_FLAGS = ("channels_last", "checkpoint_activations", "set_to_none")
_COUNTS = ("batch_size", "accumulate", "steps")
NAMES = tuple(field.name for field in fields(StepConfig))


def step_config(options: Mapping[str, Any]) -> StepConfig:
    """StepConfig of options such as {"precision": "amp-bf16", "inputs": "3x224x224"}.

    Raises:
        UsageError: an unknown option, or a value that it does not take.
    """
    values: dict[str, Any] = {}
    for name, value in options.items():
        if name not in NAMES:
            near = difflib.get_close_matches(name, NAMES, n=3)
            hint = f"; did you mean {' or '.join(near)}?" if near else f"; known: {', '.join(NAMES)}"
            raise UsageError(f"there is no option {name!r}{hint}")
        values[name] = _value(name, value)
    return StepConfig(**values)


def _value(name: str, value: Any) -> Any:
    if value is None and name in _MAY_BE_NONE:
        return None
    if name in _CHOICES:
        return choice(_CHOICES[name], value, name)
    if name == "inputs":
        return _inputs(value)
    if name == "optimizer_arguments":
        return _arguments(value)
    wanted: type = bool if name in _FLAGS else int if name in _COUNTS else str
    if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
        raise UsageError(f"{name} must be {_WORDS[wanted]}, not {value!r}")
    return value


_WORDS: dict[type, str] = {bool: "True or False", int: "a whole number", str: "text"}


def choice(kind: type[_Choice], value: Any, name: str) -> _Choice:
    """The member of `kind` that `value` names, without regard to case and underscores.

    Raises:
        UsageError: no such member; all are listed.
    """
    if isinstance(value, kind):
        return value
    if isinstance(value, str):
        for member in kind:
            if member.value == value.lower().replace("_", "-"):
                return member
    known = ", ".join(member.value for member in kind)
    raise UsageError(f"{name} {value!r} is not one of {known}")


def _inputs(value: Any) -> tuple[InputSpec, ...]:
    if isinstance(value, (str, InputSpec)):
        value = (value,)
    if not isinstance(value, (tuple, list)):
        raise UsageError(f'inputs must be like "3x224x224" or a list of such, not {value!r}')
    return tuple(item if isinstance(item, InputSpec) else parse_input(item) for item in value)


def _arguments(value: Any) -> tuple[tuple[str, Scalar], ...]:
    if isinstance(value, Mapping):
        return tuple((str(key), item) for key, item in value.items())
    if isinstance(value, str):
        value = (value,)
    return tuple(parse_argument(item) if isinstance(item, str) else tuple(item) for item in value)
