"""Builds every model of the catalog from its class and config, and compares its parameters.

In: models/catalog/*.yaml, and an environment with transformers and diffusers (any version that
has the classes). Out: a line for each model with the parameters built, those of the catalog and
their difference; exit 1 where they differ or a model cannot be built. Convention: models are built
on the meta device, so none takes memory.

    python -m benchmarks.catalog
    python -m benchmarks.catalog whisper llama-3 openai-community/gpt2
    python -m benchmarks.catalog --shapes

With `--shapes` the shapes of all language models are written to planner/catalog/served_shapes.json,
which `planner serving` reads, so that it needs no transformers for a model of the catalog.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from planner.catalog.catalog import all_models, config_json
from planner.catalog.records import CatalogModel, Library
from planner.catalog.served_shapes import SHAPES_FILE
from planner.config.model_shapes import ModelShapes
from planner.config.published import Library as PublishedLibrary
from planner.config.published import PublishedModel
from planner.config.target import Target, TargetKind
from planner.errors import WrongTargetError


def main(arguments: Sequence[str] | None = None) -> int:
    """Builds the chosen models and prints the comparison; 1: one differs, 2: packages missing."""
    parser = argparse.ArgumentParser(prog="benchmarks.catalog", description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", help="families or names; all without one")
    parser.add_argument("--shapes", action="store_true", help="write served_shapes.json")
    given = parser.parse_args(arguments)
    wanted = [name.casefold() for name in given.names]
    models = [model for model in all_models() if not wanted or _is_wanted(model, wanted)]
    missing = _missing({"torch", *(model.library.value for model in models)})
    if missing:
        print(f"not installed here: {', '.join(missing)}; run it where they are", file=sys.stderr)
        return 2
    return _write_shapes(models) if given.shapes else _compare(models)


def _is_wanted(model: CatalogModel, wanted: Sequence[str]) -> bool:
    return model.family in wanted or any(name.casefold() in wanted for name in model.names)


def _missing(packages: set[str]) -> list[str]:
    return sorted(name for name in packages if find_spec(name) is None)


def _compare(models: Sequence[CatalogModel]) -> int:
    started = time.perf_counter()
    differing, published = 0, 0
    for model in models:
        said = "published" if model.parameters_published else "built"
        published += model.parameters_published
        try:
            built = parameters_of(model)
        except Exception as error:
            differing += 1
            print(f"{model.name}: cannot be built: {type(error).__name__}: {error}")
            continue
        differing += built != model.parameters
        difference = built - model.parameters
        print(f"{model.name:50} {built:>15,} {model.parameters:>15,} {difference:>+15,}  {said}")
    print(
        f"{len(models)} models, {published} with a published count, {differing} differ, "
        f"in {time.perf_counter() - started:.0f} s"
    )
    return 1 if differing else 0


def _write_shapes(models: Sequence[CatalogModel]) -> int:
    """Writes the shapes of the language models among these; 1: one differs from its record."""
    shapes_of: Any = import_module("planner.worker.published.shapes").published_shapes
    found: dict[str, Any] = {}
    differing = 0
    for model in models:
        if model.library is not Library.TRANSFORMERS:
            continue
        published = PublishedModel(
            library=PublishedLibrary.TRANSFORMERS, name=model.name, config=config_json(model)
        )
        target = Target(kind=TargetKind.LIBRARY, location=model.target, published=published)
        try:
            shapes: ModelShapes = shapes_of(target)
        except WrongTargetError as error:  # of another kind
            print(f"{model.name}: left out: {error}")
            continue
        differing += shapes.parameters != model.parameters
        found[model.name] = shapes.to_dict()
        print(f"{model.name}: {shapes.parameters:,} parameters, {model.parameters:,} in the record")
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(one)}" for name, one in found.items())
    SHAPES_FILE.write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")
    return 1 if differing else 0


def parameters_of(model: CatalogModel) -> int:
    """Builds the model on the meta device and returns its parameters, tied ones counted once."""
    torch: Any = import_module("torch")
    with torch.device("meta"):
        built = _built(model)
    return sum(parameter.numel() for parameter in built.parameters())


def _built(model: CatalogModel) -> Any:
    library: Any = import_module(model.library.value)
    model_class = getattr(library, model.model_class)
    if model.library is Library.DIFFUSERS:
        return model_class(**model.config)
    built = model_class(library.AutoConfig.for_model(**model.config))
    import_module("planner.worker.published.ties").untie_as_published(built, model.config)
    return built


if __name__ == "__main__":
    sys.exit(main())
