"""The words of a matrix: options of an estimate, by the names of the command line or of Python.

In: names and values from YAML, from the command line or from Python. Out: options of estimate().
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from typing import Any

from planner.config.options import EstimateOptions
from planner.config.parallel_words import NAMES as PARALLEL_NAMES
from planner.config.parse import NAMES as STEP_NAMES
from planner.config.parse import step_config
from planner.errors import UsageError

TARGET, GPU = "target", "gpu"
CONFIRM = "confirm"
# Names on the command line that are not those of Python with dashes.
_OF_THE_COMMAND_LINE = {
    "batch": "batch_size",
    "seq": "sequence_length",
    "optimizer_arg": "optimizer_arguments",
    "model_arg": "model_arguments",
    "input": "inputs",
    "timeout": "timeout_s",
}
_PLURALS = {
    "targets": TARGET, "gpus": GPU, "batches": "batch_size", "precisions": "precision",
}  # fmt: skip
# They are functions of a program, which no text can hold.
_NOT_TEXT = (
    "on_progress", "build_batch", "training_step", "build_optimizer", "inference_step",
)  # fmt: skip
# estimate() itself has the first; the second is of sweeps: each card is run by itself, as there.
_OPTIONS = (
    *(name for name in EstimateOptions.__annotations__ if name not in _NOT_TEXT),
    "max_batch",
    CONFIRM,
)

# Options that are checked with others, when a case is run.
_NOT_ALONE = ("inputs", "alloc_conf", *PARALLEL_NAMES)
_FLAGS = ("max_batch", CONFIRM)


def axis_name(word: str) -> str:
    """Returns the name of an axis: "target", "gpu", or an option of estimate() as Python has it.

    Raises:
        UsageError: there is no such option.
    """
    name = str(word).strip().lower().lstrip("-").replace("-", "_")
    name = _PLURALS.get(name) or _OF_THE_COMMAND_LINE.get(name) or name
    if name in (TARGET, GPU) or name in _OPTIONS:
        return name
    known = [*_PLURALS, *_OF_THE_COMMAND_LINE, TARGET, GPU, *_OPTIONS]
    near = difflib.get_close_matches(name, known, n=2)
    hint = f"did you mean {' or '.join(near)}?" if near else "the options of planner estimate are"
    raise UsageError(f"{word!r} is no option that a sweep can vary; {hint}")


def checked(name: str, value: Any) -> Any:
    """Returns a value of an axis in one spelling.

    Raises:
        UsageError: it is not a text, a number, true, false, none, or a list or mapping of those;
        or the option does not take it.
    """
    plain = _plain(name, value)
    if name in (TARGET, GPU):
        if not isinstance(plain, str) or not plain.strip():
            raise UsageError(f"{name} must be a text, not {value!r}")
        return plain.strip()
    if name in _FLAGS and not isinstance(plain, bool):
        raise UsageError(f"{name} must be true or false, not {value!r}")
    if name in STEP_NAMES and name not in _NOT_ALONE:
        settled = getattr(step_config({name: plain}), name)
        return getattr(settled, "value", plain)
    return plain


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        raise UsageError(f"{name} must be a finite number, not {value!r}")
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, str):
        return str(getattr(value, "value", value))  # of an enum
    if isinstance(value, (list, tuple)):
        return [_plain(name, one) for one in value]
    if isinstance(value, Mapping):
        return {str(key): _plain(name, one) for key, one in value.items()}
    raise UsageError(
        f"{name} cannot be {value!r}: a sweep takes texts, numbers, true, false, and lists of them"
    )
