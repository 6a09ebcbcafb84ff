"""Refuses a Python file that cannot contain the model, by its syntax alone.

In: a path and the target. Out: nothing, or a WrongTargetError with the change that the file needs.
Convention: where the syntax does not decide, nothing is refused.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

from planner.config.target import Target
from planner.errors import WrongTargetError
from planner.preflight.source import Source, read_source

_MODEL_NAMES = ("build_model", "model", "build_pipeline")
# Names of the contract that are not the model; see worker/target/lookup.py.
_OTHERS = (
    "build_batch", "training_step", "build_optimizer", "build_dataset", "inference_step", "collate",
)  # fmt: skip
_BUILDER_WORDS = {"model", "net", "network", "build", "make", "create"}
_SHOWN = 8


def check_source(path: Path, target: Target) -> None:
    """Looks for the target's name, or without one for build_model, model or a model class.

    Raises:
        WrongTargetError: the file cannot have it.
    """
    source = read_source(path)
    if source is None or not source.is_certain:
        return
    if target.name is None:
        if source.names.isdisjoint(_MODEL_NAMES) and not source.may_hold_model_class:
            raise WrongTargetError(_no_model(target, source))
    elif target.name not in source.names and not target.name.startswith("__"):
        raise WrongTargetError(_no_name(target, target.name, source))


def _no_model(target: Target, source: Source) -> str:
    where = target.location
    how = "write `def build_model():` that returns the nn.Module"
    offered = _offered(source.functions)
    if offered:
        example = offered[0] if _may_build(offered[0]) else "NAME"
        how += f", or name a function that returns one: {where}:{example} (it has "
        how += f"{_listed(offered)})"
    return f"{where} has no build_model(), no `model` and no class of an nn.Module; {how}"


def _no_name(target: Target, name: str, source: Source) -> str:
    offered = _offered((*source.functions, *source.classes))
    near = difflib.get_close_matches(name, sorted(source.names), n=3)
    if near:
        hint = f"did you mean {' or '.join(f'{target.location}:{one}' for one in near)}?"
    elif offered:
        hint = f"it holds {_listed(offered)}"
    else:
        hint = "it holds no function or class"
    return f"there is no {name!r} in {target.location}; {hint}"


def _offered(names: Sequence[str]) -> list[str]:
    """Returns the public names that may build a model, likely names first."""
    public = [name for name in names if not name.startswith("_") and name not in _OTHERS]
    return sorted(dict.fromkeys(public), key=lambda name: not _may_build(name))


def _may_build(name: str) -> bool:
    """Returns whether a part of the name suggests a model, as in make_net or build_gpt."""
    return not _BUILDER_WORDS.isdisjoint(name.lower().split("_"))


def _listed(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
