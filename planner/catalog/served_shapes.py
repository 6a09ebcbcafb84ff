"""Shapes of the language models of the catalog: `planner serving` needs no library for them.

In: the name of a model of the catalog. Out: ModelShapes. Convention: the file is written by
`python -m benchmarks.catalog --shapes`, which builds each model without its weights.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from planner.config.model_shapes import ModelShapes, shapes_from

SHAPES_FILE = Path(__file__).with_name("served_shapes.json")


def catalog_shapes(name: str) -> ModelShapes | None:
    """Returns the shapes of the model of the catalog with exactly this name; None: not there."""
    document = _documents().get(name)
    return None if document is None else shapes_from(document)


def shaped_models() -> tuple[str, ...]:
    """Returns the names of all models whose shapes are kept."""
    return tuple(_documents())


@cache
def _documents() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(SHAPES_FILE.read_text(encoding="utf-8"))
    return found
