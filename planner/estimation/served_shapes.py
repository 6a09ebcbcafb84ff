"""The shapes of a language model that is to be served: of the catalog, or built in a child.

In: a target in the caller's words. Out: FoundShapes. Convention: no child is started for a model of
the catalog; any other is built by transformers without its weights.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from planner.catalog.catalog import find_model
from planner.catalog.served_shapes import catalog_shapes
from planner.config.model_shapes import ModelShapes
from planner.config.options import Progress
from planner.config.published import Library, PublishedModel, Task, TaskConfig
from planner.config.target import Target, TargetKind
from planner.errors import WrongTargetError
from planner.process.client import Runner
from planner.published.lookup import FoundConfig, find_config
from planner.published.names import NamedModel, named_model
from planner.published.packages import check_packages
from planner.wire.protocol import Engine

_TASK = TaskConfig(task=Task.INFER)


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundShapes:
    """A model as shapes; `name` is that of an engine's command line."""

    shapes: ModelShapes
    name: str
    origin: str
    """A sentence on the place of the config."""
    config: str
    """The text of its config.json."""
    quantization: dict[str, Any]
    """The quantization_config of its config; empty: it has none."""


def found_shapes(target: str, timeout_s: float, progress: Progress) -> FoundShapes:
    """Returns the shapes of `hf:org/name`, of a name of the catalog, or of a config.json.

    Raises:
        WrongTargetError: there is no config of it, or it is no language model.
        UsageError: transformers is not installed, and the model is not of the catalog.
        ChildError: the child was killed, or took too long.
    """
    named = named_model(target) or NamedModel(library=Library.TRANSFORMERS, name=target)
    if named.library is not Library.TRANSFORMERS:
        raise WrongTargetError(
            f"{target} is no language model: engines serve models of transformers; write "
            "hf:org/name, or hf:path/to/config.json"
        )
    if target.endswith(".py"):
        raise WrongTargetError(
            f"{target} is a file of Python, and an engine serves a published model: write "
            "hf:org/name, or hf:path/to/config.json"
        )
    found = find_config(named)
    keys = json.loads(found.text)
    of_catalog = None if Path(named.name).expanduser().exists() else find_model(named.name)
    shapes = None if of_catalog is None else catalog_shapes(of_catalog.name)
    if shapes is None:
        shapes = _built(target, named, found, timeout_s, progress)
    return FoundShapes(
        shapes=shapes,
        name=named.name if of_catalog is None else _whole_name(named.name, of_catalog.names),
        origin=found.origin,
        config=found.text,
        quantization=keys.get("quantization_config") or {},
    )


def _whole_name(name: str, names: tuple[str, ...]) -> str:
    """Returns the id of the catalog that the caller meant: that name or alias, else the first."""
    wanted = name.casefold()
    same = (one for one in names if wanted in (one.casefold(), one.rpartition("/")[2].casefold()))
    return next(same, names[0])


def _built(
    target: str, named: NamedModel, found: FoundConfig, timeout_s: float, progress: Progress
) -> ModelShapes:
    check_packages(named.library, _TASK)
    published = PublishedModel(
        library=named.library,
        name=named.name,
        config=found.text,
        origin=found.origin,
        task=_TASK,
    )
    wanted = Target(kind=TargetKind.LIBRARY, location=target, published=published)
    with Runner(wanted, device=Engine.CPU, timeout_s=timeout_s, on_progress=progress) as runner:
        runner.wait_loaded()
        return runner.shapes()
