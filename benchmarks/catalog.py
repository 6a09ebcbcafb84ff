"""Builds every model of the catalog from its class and config, and compares its parameters.

In: models/catalog/*.yaml, and an environment with transformers and diffusers (any version that
has the classes). Out: a line for each model with the parameters built, those of the catalog and
their difference; exit 1 where they differ or a model cannot be built. Convention: models are built
on the meta device, so none takes memory.

    python -m benchmarks.catalog
    python -m benchmarks.catalog whisper llama-3 openai-community/gpt2
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from planner.catalog.catalog import all_models
from planner.catalog.records import CatalogModel, Library


def main(arguments: Sequence[str] | None = None) -> int:
    """Builds the chosen models and prints the comparison; 1: one differs, 2: packages missing."""
    parser = argparse.ArgumentParser(prog="benchmarks.catalog", description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", help="families or names; all without one")
    wanted = [name.casefold() for name in parser.parse_args(arguments).names]
    models = [model for model in all_models() if not wanted or _is_wanted(model, wanted)]
    missing = _missing({"torch", *(model.library.value for model in models)})
    if missing:
        print(f"not installed here: {', '.join(missing)}; run it where they are", file=sys.stderr)
        return 2
    return _compare(models)


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
