"""Finds the components of a pipeline of diffusers: in a folder, the catalog, the cache, the hub.

In: NamedModel. Out: FoundConfig, whose text is one JSON document: the class of the pipeline, and
class and config of each component. Convention: configs alone are read, never weights or code.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from planner.catalog.pipelines import all_pipelines, pipeline_json
from planner.catalog.pipelines import find_pipeline as in_catalog
from planner.config.published import Library
from planner.errors import WrongTargetError
from planner.published.config_text import MOST_BYTES, parsed_config
from planner.published.hf_cache import cached_config
from planner.published.lookup import FoundConfig, date_of
from planner.published.names import NamedModel, is_hub_name

INDEX = "model_index.json"
_MOST_TOKENS = 1 << 20  # transformers writes 1e30 for "no limit"
# Checks the images after a run; not built, as in most scripts (safety_checker=None).
_LEFT_OUT = ("safety_checker", "feature_extractor", "watermarker")
_DTYPES = ("float32", "float16", "bfloat16")
_FILES = ("config.json", "scheduler_config.json", "preprocessor_config.json")

Read = Callable[[str], "bytes | None"]  # the content of a file of the pipeline; None: it has none


def find_document(model: NamedModel) -> FoundConfig:
    """Returns the document of the pipeline.

    Raises:
        WrongTargetError: there is none; the message says where it was looked for.
    """
    path = Path(model.name).expanduser()
    if path.name == INDEX:
        path = path.parent
    if path.is_dir():
        return _of_folder(path, str(path))
    known = in_catalog(model.name)
    if known is not None:
        return FoundConfig(
            text=pipeline_json(known),
            origin=f"configs: the catalog of pipelines, {known.name}, read {known.date} from "
            f"{known.source}" + (f"; {known.notes}" if known.notes else ""),
        )
    if not is_hub_name(model.name):
        raise WrongTargetError(
            f"{model.name!r} is neither a name like org/name nor a folder with {INDEX}"
        )
    cached = cached_config(model.name, (INDEX,))
    if cached is not None:
        return _of_folder(cached.parent, f"the cache of Hugging Face ({cached.parent})")
    return _of_hub(model.name)


def _of_folder(folder: Path, place: str) -> FoundConfig:
    def read(name: str) -> bytes | None:
        file = folder / name
        if not file.is_file():
            return None
        with file.open("rb") as opened:
            return opened.read(MOST_BYTES + 1)

    text = json.dumps(document(read, place))
    return FoundConfig(text=text, origin=f"configs: {place}, {date_of(folder / INDEX)}")


def _of_hub(name: str) -> FoundConfig:
    from planner.published.hub import hub_config  # http.client loads slowly, and is seldom needed

    first = hub_config(name, (INDEX,))
    if first.content is None:
        known = ", ".join(f"{Library.DIFFUSERS.value}:{one.name}" for one in all_pipelines()[:3])
        raise WrongTargetError(
            f"there is no pipeline {name} on this machine: it is neither in the catalog of "
            f"pipelines nor in the cache of Hugging Face, and {first.reason}. There are {known} "
            f"and others; with a folder of configs: diffusers:path/to/folder ({INDEX} in it)"
        )
    content = first.content

    def read(file: str) -> bytes | None:
        return content if file == INDEX else hub_config(name, (file,)).content

    return FoundConfig(
        text=json.dumps(document(read, name)), origin=f"configs: {first.place}, read today"
    )


def document(read: Read, place: str) -> dict[str, Any]:
    """Returns the document of a pipeline whose files `read` gives.

    Raises:
        WrongTargetError: a file is missing, is no JSON object, or names no class.
    """
    index = _object(read, INDEX, place)
    if index is None:
        raise WrongTargetError(f"{place} holds no {INDEX}; name the folder of a pipeline")
    name = index.get("_class_name")
    if not isinstance(name, str):
        raise WrongTargetError(f'{place}/{INDEX} has no "_class_name", the class of a pipeline')
    components: dict[str, Any] = {}
    tokenizers: dict[str, int | None] = {}
    arguments: dict[str, Any] = {}
    for role, value in index.items():
        if role.startswith("_") or role in _LEFT_OUT:
            continue
        if not _is_component(value):
            arguments[role] = value
        elif value[0] is not None and "Tokenizer" in value[1]:
            tokenizers[role] = _longest(read, role, place)
        elif value[0] is not None:
            components[role] = _component(read, role, value, place)
    return {
        "_class_name": name,
        "dtype": _dtype(components),
        "components": components,
        "tokenizers": tokenizers,
        "arguments": {key: one for key, one in arguments.items() if _is_plain(one)},
    }


def _component(read: Read, role: str, value: Any, place: str) -> dict[str, Any]:
    for file in _FILES:
        config = _object(read, f"{role}/{file}", place)
        if config is not None:
            return {"library": value[0], "class": value[1], "config": config, "dtype": None}
    raise WrongTargetError(
        f"{place} has no config of its {role} ({role}/{_FILES[0]}), which {INDEX} names"
    )


def _longest(read: Read, role: str, place: str) -> int | None:
    config = _object(read, f"{role}/tokenizer_config.json", place) or {}
    tokens = config.get("model_max_length")
    return tokens if isinstance(tokens, int) and 0 < tokens < _MOST_TOKENS else None


def _object(read: Read, name: str, place: str) -> dict[str, Any] | None:
    content = read(name)
    if content is None:
        return None
    found = parsed_config(content, f"{place}/{name}")
    if not isinstance(found, dict):
        raise WrongTargetError(f"{place}/{name} holds a {type(found).__name__}, not an object")
    return found


def _is_component(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and (value == [None, None] or all(
        isinstance(one, str) for one in value
    ))  # fmt: skip


def _is_plain(value: Any) -> bool:
    return isinstance(value, (bool, int, float, str))


def _dtype(components: Mapping[str, Any]) -> str:
    """Returns the dtype that a config of the pipeline names, of the 16-bit ones; else float32."""
    for one in components.values():
        named = one["config"].get("torch_dtype") or one["config"].get("dtype")
        if named in _DTYPES[1:]:
            return str(named)
    return _DTYPES[0]
