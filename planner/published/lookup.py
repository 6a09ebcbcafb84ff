"""Finds the config of a published model: a file, the catalog, the user's cache, the hub.

In: NamedModel. Out: FoundConfig, which says where it was found and of which date it is.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from planner.config.published import Library
from planner.errors import WrongTargetError
from planner.published.config_text import FILE_NAME, checked_text, read_config
from planner.published.hf_cache import cached_config
from planner.published.hub import hub_config
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
        return FoundConfig(text=text, origin=f"config: {_file_of(path)}, {_date(_file_of(path))}")
    if not is_hub_name(model.name):
        raise WrongTargetError(
            f"{model.name!r} is neither a name like org/name nor the path of a config.json"
        )
    files = _FILES[model.library]
    cached = cached_config(model.name, files)
    if cached is not None:
        text = read_config(cached, model.library)
        return FoundConfig(
            text=text, origin=f"config: the cache of Hugging Face, {_date(cached)} ({cached})"
        )
    answer = hub_config(model.name, files)
    if answer.content is None:
        raise WrongTargetError(_not_found(model, answer.reason))
    text = checked_text(answer.content, model.library, answer.place)
    return FoundConfig(text=text, origin=f"config: {answer.place}, read today")


def _not_found(model: NamedModel, reason: str) -> str:
    return (
        f"there is no config of {model.name} on this machine: it is not in the cache of Hugging "
        f"Face, and {reason}. With its config.json in a file: "
        f"{model.library.value}:path/to/config.json"
    )


def _is_path(name: str, path: Path) -> bool:
    try:
        return path.exists() or name.endswith(".json") or name.startswith(("/", ".", "~"))
    except (OSError, ValueError):
        return False


def _file_of(path: Path) -> Path:
    return path / FILE_NAME if path.is_dir() else path


def _date(file: Path) -> str:
    return "of " + time.strftime("%Y-%m-%d", time.gmtime(file.stat().st_mtime))
