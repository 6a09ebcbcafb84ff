"""Finds the config of a published model: a file, the catalog, the user's cache, the hub.

In: NamedModel. Out: FoundConfig, which says where it was found and of which date it is.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from planner.catalog.catalog import config_json, find_model, near_models
from planner.catalog.records import CatalogModel
from planner.config.published import Library
from planner.errors import WrongTargetError
from planner.published.config_text import FILE_NAME, checked_text, read_config
from planner.published.hf_cache import cached_config
from planner.published.names import NamedModel, is_hub_name

_FILES = {
    Library.TRANSFORMERS: (FILE_NAME,),
    Library.DIFFUSERS: (f"transformer/{FILE_NAME}", f"unet/{FILE_NAME}", FILE_NAME),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundConfig:
    """The text of a config.json, and a sentence on its place and date."""

    text: str
    origin: str


def find_config(model: NamedModel) -> FoundConfig:
    """Returns the config of a model of transformers or diffusers.

    Raises:
        WrongTargetError: there is none; the message says where it was looked for.
    """
    path = Path(model.name).expanduser()
    if _is_path(model.name, path):
        text = read_config(path, model.library)
        return FoundConfig(text=text, origin=f"config: {_file_of(path)}, {date_of(_file_of(path))}")
    if not is_hub_name(model.name):
        raise WrongTargetError(
            f"{model.name!r} is neither a name like org/name nor the path of a config.json"
        )
    known = find_model(model.name)
    if known is not None:
        _check_library(model, known)
        return FoundConfig(
            text=config_json(known),
            origin=f"config: the catalog, {known.name}, read {known.date} from {known.source}",
        )
    files = _FILES[model.library]
    cached = cached_config(model.name, files)
    if cached is not None:
        text = read_config(cached, model.library)
        return FoundConfig(
            text=text, origin=f"config: the cache of Hugging Face, {date_of(cached)} ({cached})"
        )
    from planner.published.hub import hub_config  # http.client loads slowly, and is seldom needed

    answer = hub_config(model.name, files)
    if answer.content is None:
        raise WrongTargetError(_not_found(model, answer.reason))
    text = checked_text(answer.content, model.library, answer.place)
    return FoundConfig(text=text, origin=f"config: {answer.place}, read today")


def _check_library(model: NamedModel, known: CatalogModel) -> None:
    published_by = known.library.value
    if published_by != model.library.package:
        other = next(one for one in Library if one.package == published_by)
        raise WrongTargetError(
            f"{known.name} is a model of {published_by}: write {other.value}:{model.name}"
        )


def _not_found(model: NamedModel, reason: str) -> str:
    near = near_models(model.name)
    named = " or ".join(f"{model.library.value}:{one}" for one in near[:3])
    meant = f"; did you mean {named}?" if near else "."
    return (
        f"there is no config of {model.name} on this machine: it is neither in the catalog "
        f"(`planner models`) nor in the cache of Hugging Face, and {reason}{meant} With its "
        f"config.json in a file: {model.library.value}:path/to/config.json"
    )


def _is_path(name: str, path: Path) -> bool:
    try:
        return path.exists() or name.endswith(".json") or name.startswith(("/", ".", "~"))
    except (OSError, ValueError):
        return False


def _file_of(path: Path) -> Path:
    return path / FILE_NAME if path.is_dir() else path


def date_of(file: Path) -> str:
    """Returns the day on which a file was written, like `of 2026-11-28`."""
    return "of " + time.strftime("%Y-%m-%d", time.gmtime(file.stat().st_mtime))
