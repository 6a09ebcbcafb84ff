"""Checks a caller's plain values and strings, and makes a StepConfig of them.

In: keyword options of planner.estimate() or of the command line. Out: StepConfig.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping
from dataclasses import fields
from enum import Enum
from typing import Any, TypeVar

from planner.config.inputs import read_inputs
from planner.config.near_words import did_you_mean
from planner.config.parallel import ParallelConfig
from planner.config.parallel_words import NAMES as PARALLEL_NAMES
from planner.config.parallel_words import parallel_config
from planner.config.step import (
    EMA_DECAY,
    BuildOn,
    CompileMode,
    DataDependent,
    Mode,
    Offload,
    OptimizerName,
    Precision,
    SizeAt,
    StepConfig,
    parse_size_at,
)
from planner.config.target import Scalar, parse_argument
from planner.errors import UsageError

_Choice = TypeVar("_Choice", bound=Enum)
_CHOICES: dict[str, type[Enum]] = {
    "mode": Mode, "precision": Precision, "optimizer": OptimizerName, "build_on": BuildOn,
    "data_dependent": DataDependent, "compile": CompileMode,
}  # fmt: skip
_MAY_BE_NONE = (
    "sequence_length", "precision", "optimizer", "build_on", "alloc_conf", "clip_grad_norm", "ema",
    "checkpoint_blocks", "chunked_loss", "compile",
)  # fmt: skip
_FLAGS = (
    "channels_last", "checkpoint_activations", "set_to_none", "batch_from_data",
    "optimizer_in_backward",
)  # fmt: skip
_NUMBERS = ("clip_grad_norm", "ema")
_COUNTS = ("batch_size", "sequence_length", "accumulate", "steps", "chunked_loss")
_MADE = ("parallel", "window", "size")  # of several options; by runs of their own
NAMES = (
    *(field.name for field in fields(StepConfig) if field.name not in _MADE), *PARALLEL_NAMES
)  # fmt: skip


def step_config(options: Mapping[str, Any]) -> StepConfig:
    """Makes a StepConfig of options such as {"precision": "amp-bf16", "inputs": "3x224x224"}.

    Example tensors among the inputs set the batch size if none is given.

    Raises:
        UsageError: an unknown option, or a value that it does not take.
    """
    values: dict[str, Any] = {}
    for name, value in options.items():
        if name not in NAMES:
            near = difflib.get_close_matches(name, NAMES, n=3)
            hint = (
                f"; did you mean {' or '.join(near)}?" if near else f"; known: {', '.join(NAMES)}"
            )
            raise UsageError(f"there is no option {name!r}{hint}")
        if name != "inputs" and name not in PARALLEL_NAMES:
            values[name] = _value(name, value)
    if "inputs" in options:
        values["inputs"], batch_size = read_inputs(options["inputs"])
        if batch_size is not None:
            values.setdefault("batch_size", batch_size)
    return StepConfig(**values, parallel=_parallel(options))


def _parallel(options: Mapping[str, Any]) -> ParallelConfig | None:
    for name in ("num_gpus", "num_hosts", "microbatches"):
        value = options.get(name)
        if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
            raise UsageError(f"{name} must be {_WORDS[int]}, not {value!r}")
    words = options.get("parallel")
    if not (words is None or isinstance(words, str)):
        raise UsageError(f"parallel must be text like 'fsdp' or 'fsdp=8,tp=4', not {words!r}")
    return parallel_config(
        options.get("num_gpus"),
        options.get("num_hosts"),
        words,
        arguments(options.get("parallel_arguments") or (), "parallel_arguments"),
        options.get("microbatches"),
    )


def _value(name: str, value: Any) -> Any:
    if value is None and name in _MAY_BE_NONE:
        return None
    if name == "compile" and isinstance(value, bool):
        return CompileMode.DEFAULT if value else CompileMode.OFF
    if name in _CHOICES:
        return choice(_CHOICES[name], value, name)
    if name in _NUMBERS:
        return _number(name, value)
    if name == "optimizer_arguments":
        return arguments(value, name)
    if name == "size_at":
        return _sizes_at(value)
    if name == "offload":
        return _offload(value)
    if name == "alloc_conf" and not (isinstance(value, str) and _ALLOC_CONF.fullmatch(value)):
        raise UsageError(
            f"alloc_conf {value!r} is not of the form NAME:VALUE[,NAME:VALUE...], for example "
            "expandable_segments:True or max_split_size_mb:128,garbage_collection_threshold:0.8"
        )
    wanted: type = bool if name in _FLAGS else int if name in _COUNTS else str
    if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
        raise UsageError(f"{name} must be {_WORDS[wanted]}, not {value!r}")
    return value


def _number(name: str, value: Any) -> float | None:
    """Returns a number; for `ema`, True means EMA_DECAY and False None."""
    if name == "ema" and isinstance(value, bool):
        return EMA_DECAY if value else None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise UsageError(f"{name} must be a number, not {value!r}")
    return float(value)


def texts(value: Any, name: str) -> tuple[str, ...]:
    """Returns one text or several as a tuple; an empty one for None.

    Raises:
        UsageError: something else.
    """
    if value is None:
        return ()
    if isinstance(value, str):
        return (value,)
    if isinstance(value, (tuple, list)) and all(isinstance(item, str) for item in value):
        return tuple(value)
    raise UsageError(f"{name} must be text or a list of texts, not {value!r}")


def flag(value: Any, name: str) -> bool:
    """Returns a value that must be True or False.

    Raises:
        UsageError: something else.
    """
    if not isinstance(value, bool):
        raise UsageError(f"{name} must be {_WORDS[bool]}, not {value!r}")
    return value


def device_word(value: Any) -> str | None:
    """Returns a device as torch names it ("cpu", "cuda:1"), in lower case; None stays None."""
    return None if value is None else str(value).strip().lower()


# The form of PYTORCH_CUDA_ALLOC_CONF: torch parses it when it is imported, and aborts on errors.
_ALLOC_ENTRY = r"\s*\w+\s*:\s*(?:\[[^\[\]]+\]|[^\s,:;\[\]]+)\s*"
_ALLOC_CONF = re.compile(f"{_ALLOC_ENTRY}(?:,{_ALLOC_ENTRY})*")
_WORDS: dict[type, str] = {bool: "True or False", int: "a whole number", str: "text"}


def choice(kind: type[_Choice], value: Any, name: str) -> _Choice:
    """Returns the member of `kind` that `value` names; case and underscores do not count.

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
    meant = did_you_mean(kind, value) if isinstance(value, str) else ""
    raise UsageError(f"{name} {value!r} is not one of {known}{meant}")


def _offload(value: Any) -> tuple[Offload, ...]:
    """Reads "activations", Offload members or a list of both; each once, in their order."""
    given = (value,) if isinstance(value, str) else value
    if not isinstance(given, (tuple, list)):
        raise UsageError(f"offload must be text or a list of texts, not {value!r}")
    found = {choice(Offload, item, "offload") for item in given}
    return tuple(member for member in Offload if member in found)


def _sizes_at(value: Any) -> tuple[SizeAt, ...]:
    """Reads sizes from {"net.py:20": 512}, from "net.py:20=512" or from a list of such texts."""
    if isinstance(value, Mapping):
        value = tuple(f"{place}={size}" for place, size in value.items())
    given = (value,) if isinstance(value, (str, SizeAt)) else value
    if not isinstance(given, (tuple, list)) or not all(
        isinstance(item, (str, SizeAt)) for item in given
    ):
        wanted = '{"net.py:20": 512} or "net.py:20=512"'
        raise UsageError(f"size_at must be like {wanted}, not {value!r}")
    return tuple(parse_size_at(item) if isinstance(item, str) else item for item in given)


def arguments(value: Any, name: str) -> tuple[tuple[str, Scalar], ...]:
    """Reads keyword arguments from a mapping, from "k=v" or from a list of "k=v" and (k, v).

    Raises:
        UsageError: another form, or a value that is not a number, text, True, False or None.
    """
    if isinstance(value, Mapping):
        value = tuple(value.items())
    elif isinstance(value, str):
        value = (value,)
    if not isinstance(value, (tuple, list)):
        raise UsageError(f'{name} must be like {{"lr": 0.1}} or "lr=0.1", not {value!r}')
    return tuple(_argument(item, name) for item in value)


def _argument(item: Any, name: str) -> tuple[str, Scalar]:
    if isinstance(item, str):
        return parse_argument(item)
    if not (isinstance(item, (tuple, list)) and len(item) == 2 and isinstance(item[0], str)):
        raise UsageError(f'{name} must hold pairs like ("lr", 0.1), not {item!r}')
    key, value = item
    if value is not None and not isinstance(value, (bool, int, float, str)):
        raise UsageError(
            f"{name}: {key} must be a number, text, True, False or None, not {value!r}; for "
            "anything else write a function without arguments that passes it"
        )
    if isinstance(value, float) and not math.isfinite(value):
        raise UsageError(f"{name}: {key} must be a finite number, not {value!r}")
    return key, value
