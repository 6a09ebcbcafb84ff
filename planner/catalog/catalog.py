"""Finds published models by name, and writes their config.json.

In: models/catalog/*.yaml, one file a family, and the folder models/ of a user's own records on
top. Out: CatalogModels. Convention: case does not count; the last part of a name is enough where
one model has it; a file is parsed only where its text has the name.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Protocol, TypeVar

from planner.catalog.records import CatalogModel, Library, read_family
from planner.errors import CatalogError, HardwareDatabaseError
from planner.hardware.records import users_files
from planner.hardware.yaml_files import data_folder, parsed, read_text, record_files


class _Named(Protocol):
    @property
    def names(self) -> tuple[str, ...]: ...


_NamedT = TypeVar("_NamedT", bound=_Named)

_MOST_FILE_BYTES = 131_072  # the longest of ours has under a third of it
_MOST_NEAR = 4
_NEAR_CUTOFF = 0.6  # share of letters in common, as difflib counts it


def find_model(name: str, extra_dir: Path | None = None) -> CatalogModel | None:
    """Returns the model with this name or alias, or None.

    The last part alone, as `Llama-3.1-8B`, is enough where only one model has it. A model of
    `extra_dir`/models/*.yaml comes before one of ours with the same name.

    Raises:
        UsageError: `extra_dir` is not a folder with records.
        CatalogError: a file with the name in it cannot be read or does not follow the schema.
    """
    wanted = name.strip().casefold()
    if not wanted:
        return None
    for models in (_models_of(_users_files(extra_dir), wanted), _models_of(_own_files(), wanted)):
        found = named(models, wanted)
        if found is not None:
            return found
    return None


def named(records: Iterable[_NamedT], wanted: str) -> _NamedT | None:
    """Returns the record with this name, or the only one with this last part of a name; None: none.

    `wanted` is casefolded.
    """
    known = list(records)
    exact = [one for one in known if wanted in _folded(one.names)]
    last = [one for one in known if wanted in _last_parts(one.names)]
    return (exact or last)[0] if exact or len(last) == 1 else None


def all_models(extra_dir: Path | None = None) -> tuple[CatalogModel, ...]:
    """Returns every model, sorted by family and number of parameters.

    Raises:
        UsageError: `extra_dir` is not a folder with records.
        CatalogError: a file cannot be read, does not follow the schema, or has a name that is in
            another file too.
    """
    users = _without_a_name_twice(_users_files(extra_dir))
    replaced = {name for model in users for name in _folded(model.names)}
    own = _without_a_name_twice(_own_files())
    kept = [model for model in own if model.name.casefold() not in replaced]
    return tuple(
        sorted((*kept, *users), key=lambda model: (model.family, model.parameters, model.name))
    )


def near_models(name: str, extra_dir: Path | None = None) -> tuple[str, ...]:
    """Returns up to four names of models that are like this one, nearest first.

    Raises:
        UsageError, CatalogError: as `all_models`.
    """
    from difflib import get_close_matches  # only needed for an unknown name

    by_text: dict[str, str] = {}
    for model in all_models(extra_dir):
        for spelling in (*_folded(model.names), *_last_parts(model.names)):
            by_text.setdefault(spelling, model.name)
    wanted = name.strip().casefold()
    inside = [text for text in by_text if len(wanted) > 2 and wanted in text]
    last = wanted.rpartition("/")[2]
    close = [
        text
        for one in (wanted, last)
        for text in get_close_matches(one, by_text, n=2 * _MOST_NEAR, cutoff=_NEAR_CUTOFF)
    ]
    names = dict.fromkeys(by_text[text] for text in (*sorted(inside, key=len), *close))
    return tuple(names)[:_MOST_NEAR]


def config_json(model: CatalogModel) -> str:
    """Returns the text of a config.json: the config with the name of the class and the dtype."""
    if model.library is Library.DIFFUSERS:
        document = {"_class_name": model.model_class, **model.config}
    else:
        document = {
            "architectures": [model.model_class],
            **model.config,
            "torch_dtype": model.dtype,
        }
    return json.dumps(document, indent=2) + "\n"


def _own_files() -> list[Path]:
    try:
        return record_files(data_folder("the catalog of models", "catalog_db", "models/catalog"))
    except HardwareDatabaseError as error:
        raise CatalogError(str(error)) from None


def _users_files(extra_dir: Path | None) -> list[Path]:
    return [] if extra_dir is None else users_files("models", extra_dir)


def _models_of(files: Iterable[Path], wanted: str = "") -> list[CatalogModel]:
    """Returns the models of the files whose text has the last part of a name in it."""
    last = wanted.rpartition("/")[2]
    return [
        model
        for path in files
        if last in (text := _text_of(path)).casefold()
        for model in _parsed_family(text, path)
    ]


def _without_a_name_twice(files: Iterable[Path]) -> list[CatalogModel]:
    homes: dict[str, Path] = {}
    models = []
    for path in files:
        for model in _models_of([path]):
            for name in _folded(model.names):
                if homes.setdefault(name, path) != path:
                    raise CatalogError(f"{path}: name: {name!r} is already in {homes[name]}")
            models.append(model)
    return models


def _text_of(path: Path) -> str:
    try:
        return read_text(path, _MOST_FILE_BYTES)
    except HardwareDatabaseError as error:
        raise CatalogError(str(error)) from None


@cache
def _parsed_family(text: str, path: Path) -> tuple[CatalogModel, ...]:
    try:
        return read_family(parsed(text, path), str(path))
    except HardwareDatabaseError as error:
        raise CatalogError(str(error)) from None


def _folded(names: Iterable[str]) -> list[str]:
    return [name.casefold() for name in names]


def _last_parts(names: Iterable[str]) -> list[str]:
    return [name.rpartition("/")[2].casefold() for name in names]
