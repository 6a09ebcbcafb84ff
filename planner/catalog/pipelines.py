"""Reads the catalog of pipelines: the parts that a published generator is made of.

In: models/pipelines/*.yaml (models/catalog/SCHEMA.md describes the keys). Out: the document of a
pipeline, from which the child builds it. Convention: a part is named once, for all files; the
denoiser may be a model of the catalog.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from planner.catalog.catalog import find_model, named
from planner.catalog.records import (
    CLASS_FORM,
    DATE_FORM,
    DTYPES,
    HUB_ID_FORM,
    Library,
    read_config,
)
from planner.errors import CatalogError, HardwareDatabaseError
from planner.hardware.fields import Fields
from planner.hardware.yaml_files import data_folder, parsed, read_text, record_files

_MOST_FILE_BYTES = 65_536
_ROLE = r"[a-z][a-z0-9_]*"
_MOST_TOKENS = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelinePart:
    """A model or a scheduler that pipelines are made of."""

    name: str
    """Name among all parts."""
    library: Library
    """Package that has the class."""
    part_class: str
    """The class in that package."""
    config: Mapping[str, Any]
    """Keys of its published config."""
    source: str
    """The document with the config."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """A component of a pipeline: one of a part, a model of the catalog or a number of tokens."""

    role: str
    """The name of the argument of the pipeline's class."""
    part: str | None = None
    """Name of a part."""
    model: str | None = None
    """Name of a model of the catalog."""
    tokens: int | None = None
    """Tokens of the longest text, of a tokenizer."""
    dtype: str | None = None
    """Dtype of its weights; None: that of the pipeline."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogPipeline:
    """A published pipeline of diffusers."""

    name: str
    """The id on the Hugging Face hub."""
    aliases: tuple[str, ...]
    """Other ids with the same components."""
    pipeline_class: str
    """The class in diffusers."""
    dtype: str
    """Dtype in which it is usually loaded."""
    components: tuple[Component, ...]
    """Its components, in the order of the file."""
    source: str
    """The document with the components."""
    date: str
    """The day of reading."""
    notes: str | None = None
    """A remark that the user is shown."""

    @property
    def names(self) -> tuple[str, ...]:
        """Returns the name and the aliases."""
        return (self.name, *self.aliases)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Records:
    parts: Mapping[str, PipelinePart] = field(default_factory=dict)
    pipelines: tuple[CatalogPipeline, ...] = ()


def find_pipeline(name: str) -> CatalogPipeline | None:
    """Returns the pipeline with this name or alias, or with this last part of a name; else None.

    Raises:
        CatalogError: a file cannot be read or does not follow the schema.
    """
    return named(_records().pipelines, name.strip().casefold())


def all_pipelines() -> tuple[CatalogPipeline, ...]:
    """Returns every pipeline, in the order of the files.

    Raises:
        CatalogError: a file cannot be read or does not follow the schema.
    """
    return _records().pipelines


def pipeline_json(pipeline: CatalogPipeline) -> str:
    """Returns the document of the pipeline, as `planner/published/pipelines.py` has it.

    Raises:
        CatalogError: a component names a part or a model that is not there.
    """
    components: dict[str, Any] = {}
    tokenizers: dict[str, int] = {}
    for one in pipeline.components:
        if one.tokens is not None:
            tokenizers[one.role] = one.tokens
        else:
            components[one.role] = _component(pipeline, one)
    document = {
        "_class_name": pipeline.pipeline_class,
        "dtype": pipeline.dtype,
        "components": components,
        "tokenizers": tokenizers,
        "arguments": {},
    }
    return json.dumps(document)


def _component(pipeline: CatalogPipeline, one: Component) -> dict[str, Any]:
    if one.part is not None:
        part = _records().parts.get(one.part)
        if part is None:
            raise CatalogError(f"{pipeline.name}: {one.role}: there is no part {one.part!r}")
        found = (part.library.value, part.part_class, part.config)
    else:
        model = find_model(one.model or "")
        if model is None:
            raise CatalogError(f"{pipeline.name}: {one.role}: there is no model {one.model!r}")
        found = (model.library.value, model.model_class, model.config)
    library, class_name, config = found
    return {"library": library, "class": class_name, "config": dict(config), "dtype": one.dtype}


@cache
def _records() -> _Records:
    try:
        folder = data_folder("the catalog of pipelines", "pipelines_db", "models/pipelines")
        return _joined(_read(path) for path in record_files(folder))
    except HardwareDatabaseError as error:
        raise CatalogError(str(error)) from None


def _read(path: Path) -> _Records:
    return read_pipelines(parsed(read_text(path, _MOST_FILE_BYTES), path), str(path))


def _joined(files: Iterable[_Records]) -> _Records:
    parts: dict[str, PipelinePart] = {}
    pipelines: list[CatalogPipeline] = []
    for one in files:
        twice = parts.keys() & one.parts.keys()
        if twice:
            raise CatalogError(f"the part {min(twice)!r} is in two files of models/pipelines")
        parts.update(one.parts)
        pipelines += one.pipelines
    return _Records(parts=parts, pipelines=tuple(pipelines))


def read_pipelines(value: object, file: str) -> _Records:
    """Reads and checks a whole file.

    Raises:
        HardwareDatabaseError: a key is unknown, missing or of the wrong type.
    """
    record = Fields(value, file=file)
    parts = {}
    for entry in record.sections("parts"):
        part = _read_part(entry)
        if part.name in parts:
            raise entry.fail("name", f"{part.name!r} is in this file twice")
        parts[part.name] = part
    pipelines = tuple(_read_pipeline(entry) for entry in record.sections("pipelines"))
    record.finish()
    return _Records(parts=parts, pipelines=pipelines)


def _read_part(entry: Fields) -> PipelinePart:
    part = PipelinePart(
        name=entry.text("name"),
        library=entry.word("library", Library),
        part_class=entry.text("part_class", CLASS_FORM),
        config=read_config(entry),
        source=entry.text("source"),
    )
    entry.text("date", DATE_FORM)
    entry.finish()
    return part


def _read_pipeline(entry: Fields) -> CatalogPipeline:
    pipeline = CatalogPipeline(
        name=entry.text("name", HUB_ID_FORM),
        aliases=entry.texts("aliases"),
        pipeline_class=entry.text("pipeline_class", CLASS_FORM),
        dtype=entry.text("dtype", DTYPES),
        components=tuple(_read_component(one) for one in entry.sections("components")),
        source=entry.text("source"),
        date=entry.text("date", DATE_FORM),
        notes=entry.optional_text("notes"),
    )
    if not pipeline.components:
        raise entry.fail("components", "is missing or empty")
    entry.finish()
    return pipeline


def _read_component(entry: Fields) -> Component:
    component = Component(
        role=entry.text("role", _ROLE),
        part=entry.optional_text("part"),
        model=entry.optional_text("model", HUB_ID_FORM),
        tokens=entry.optional_whole("tokens", 1, _MOST_TOKENS),
        dtype=entry.optional_text("dtype", DTYPES),
    )
    given = [one for one in (component.part, component.model, component.tokens) if one is not None]
    if len(given) != 1:
        raise entry.fail("role", "a component has one of part, model and tokens")
    entry.finish()
    return component
