"""Reads one file of the catalog: the published models of a family, with their configs.

In: the mapping of a file (models/catalog/SCHEMA.md describes the keys). Out: CatalogModels.
Convention: a config holds JSON values alone, under the keys of the published config.json.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from planner.hardware.fields import Fields

BUILT = "built"  # of parameters_source: counted on the model that the class makes of the config

HUB_ID_FORM = r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?"
CLASS_FORM = r"[A-Z]\w+"
DATE_FORM = r"\d{4}-\d{2}-\d{2}"
DTYPES = "float32|float16|bfloat16"
_MOST_PARAMETERS = 10**13
_MOST_LEVELS = 12  # a published config has under 6
_MOST_VALUES = 5000  # and under 500
# YAML reads 1e-05 as text: it wants a point, 1.0e-05.
_NUMBER = re.compile(r"[-+]?(\d[\d_]*\.?\d*|\.\d+)([eE][-+]?\d+)?|[-+]?\.?(inf|nan)", re.IGNORECASE)


class Library(str, Enum):
    """The package that has the class of a model."""

    TRANSFORMERS = "transformers"
    """Built from a config object: `LlamaForCausalLM(LlamaConfig(**config))`."""
    DIFFUSERS = "diffusers"
    """Built from keywords: `UNet2DConditionModel(**config)`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogModel:
    """A published model: its names, and the config that its class builds it from."""

    name: str
    """Its id on the Hugging Face hub, as `meta-llama/Llama-3.1-8B`."""
    aliases: tuple[str, ...]
    """Other ids with the same class and config, as that of the instruct twin."""
    family: str
    """The family it belongs to, as `llama-3`; the file of the catalog has its name."""
    library: Library
    """The package that has its class."""
    model_class: str
    """The name of its class in that package, as `LlamaForCausalLM`."""
    config: Mapping[str, Any]
    """The keys of the published config.json that decide shapes and behaviour; JSON values."""
    dtype: str
    """The dtype in which it is published: `float32`, `float16` or `bfloat16`."""
    parameters: int
    """How many parameters the class has, each counted once where weights are tied."""
    parameters_source: str
    """Where that count is published; `built` where it was counted on the built model."""
    source: str
    """Where the config was read."""
    date: str
    """The day on which it was read, as `2026-11-28`."""
    notes: str | None
    """A remark for the reader, or None."""

    @property
    def names(self) -> tuple[str, ...]:
        """Returns the name and the aliases."""
        return (self.name, *self.aliases)

    @property
    def parameters_published(self) -> bool:
        """Returns whether the count was published, and not counted on the built model."""
        return self.parameters_source != BUILT

    @property
    def target(self) -> str:
        """Returns the target of `planner estimate` that stands for the model."""
        prefix = "diffusers" if self.library is Library.DIFFUSERS else "hf"
        return f"{prefix}:{self.name}"

    def to_dict(self) -> dict[str, Any]:
        """Returns the JSON document of the model."""
        return {
            "name": self.name,
            "aliases": list(self.aliases),
            "family": self.family,
            "library": self.library.value,
            "model_class": self.model_class,
            "dtype": self.dtype,
            "parameters": self.parameters,
            "parameters_source": self.parameters_source,
            "source": self.source,
            "date": self.date,
            "notes": self.notes,
            "config": dict(self.config),
        }


def read_family(value: object, file: str) -> tuple[CatalogModel, ...]:
    """Reads and checks a whole file.

    Raises:
        HardwareDatabaseError: a key is unknown, missing or of the wrong type, or two models of
            the file share a name. The message names file and key.
    """
    record = Fields(value, file=file)
    family = record.text("family", r"[a-z0-9]+([.-][a-z0-9]+)*")
    models = []
    taken: set[str] = set()
    for entry in record.sections("models"):
        model = _read_model(entry, family)
        for name in model.names:
            if name.casefold() in taken:
                raise entry.fail("name", f"{name!r} is in this file twice")
            taken.add(name.casefold())
        models.append(model)
    if not models:
        raise record.fail("models", "is missing or empty: a file has at least one model")
    record.finish()
    return tuple(models)


def _read_model(entry: Fields, family: str) -> CatalogModel:
    name = entry.text("name", HUB_ID_FORM)
    library = entry.word("library", Library)
    config = read_config(entry)
    if library is Library.TRANSFORMERS and not isinstance(config.get("model_type"), str):
        raise entry.fail("config.model_type", "is missing: transformers finds the class by it")
    for alias in (aliases := entry.texts("aliases")):
        if re.fullmatch(HUB_ID_FORM, alias) is None:
            raise entry.fail("aliases", f"{alias!r} does not have the form {HUB_ID_FORM}")
    model = CatalogModel(
        name=name,
        aliases=aliases,
        family=family,
        library=library,
        model_class=entry.text("model_class", CLASS_FORM),
        config=config,
        dtype=entry.text("dtype", DTYPES),
        parameters=entry.whole("parameters", 1, _MOST_PARAMETERS),
        parameters_source=entry.text("parameters_source"),
        source=entry.text("source"),
        date=entry.text("date", DATE_FORM),
        notes=entry.optional_text("notes"),
    )
    entry.finish()
    return model


def read_config(entry: Fields) -> dict[str, Any]:
    config = entry.mapping("config")
    if not config:
        raise entry.fail("config", "is empty")
    for position, (key, value) in enumerate(_values(entry, "config", config, _MOST_LEVELS)):
        if position >= _MOST_VALUES:  # a few lines of YAML can stand for billions of values
            raise entry.fail("config", f"has more than {_MOST_VALUES} values")
        fault = _json_fault(value)
        if fault:
            raise entry.fail(key, fault)
    return config


def _values(entry: Fields, key: str, value: object, levels: int) -> Iterator[tuple[str, object]]:
    """Yields every value with its key; None for a mapping or a list, before its own values."""
    if isinstance(value, (Mapping, list)) and levels == 0:
        raise entry.fail(key, f"is nested more than {_MOST_LEVELS} levels deep")
    if isinstance(value, Mapping):
        yield key, None
        for name, below in value.items():
            if not isinstance(name, str):
                raise entry.fail(key, f"the key {name!r} is not text; write it in quotes")
            yield from _values(entry, f"{key}.{name}", below, levels - 1)
    elif isinstance(value, list):
        yield key, None
        for position, below in enumerate(value):
            yield from _values(entry, f"{key}[{position}]", below, levels - 1)
    else:
        yield key, value


def _json_fault(value: object) -> str | None:
    """Returns why JSON cannot hold the value as it is meant, or None."""
    if isinstance(value, str):
        is_number = _NUMBER.fullmatch(value) is not None
        return f"{value!r} is text; a number of YAML is written 1.0e-05" if is_number else None
    if isinstance(value, float):
        return None if math.isfinite(value) else f"{value} is not a number of JSON"
    if value is None or isinstance(value, (bool, int)):
        return None
    return f"a {type(value).__name__} is not a value of JSON; write a text in quotes"
