"""Reads and checks the text of a config.json.

In: a path, or the text itself. Out: the text of one JSON object that names a model. Convention: a
config of a model is small; a larger file is not one.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from planner.config.published import Library
from planner.errors import WrongTargetError

FILE_NAME = "config.json"
MOST_BYTES = 4 << 20
# The key by which each library finds the class of a model.
_KEY = {Library.TRANSFORMERS: "model_type", Library.DIFFUSERS: "_class_name"}


def read_config(path: Path, library: Library) -> str:
    """Returns the text of a config.json, or of the one in a folder.

    Raises:
        WrongTargetError: there is no such file, it cannot be read, or it is no config of a model.
    """
    file = path / FILE_NAME if path.is_dir() else path
    if not file.is_file():
        where = f"{path} holds no {FILE_NAME}" if path.is_dir() else f"there is no file {path}"
        raise WrongTargetError(f"{where}; name the config.json of a model, or the folder with it")
    try:
        with file.open("rb") as opened:
            content = opened.read(MOST_BYTES + 1)
    except OSError as error:
        raise WrongTargetError(f"{file} cannot be read: {error.strerror}") from None
    return checked_text(content, library, str(file))


def checked_text(content: bytes, library: Library, place: str) -> str:
    """Returns the content as text if it is the config of a model.

    Raises:
        WrongTargetError: it is too large, no JSON object, or names no model.
    """
    check_config(parsed_config(content, place), library, place)
    return content.decode()


def parsed_config(content: bytes, place: str) -> Any:
    """Returns the value of the content of a config.

    Raises:
        WrongTargetError: it is too large, or no JSON.
    """
    if len(content) > MOST_BYTES:
        raise WrongTargetError(f"{place} is too large for a config.json of a model")
    try:
        return json.loads(content.decode())
    except (ValueError, RecursionError) as error:
        raise WrongTargetError(f"{place} is not JSON: {error}") from None


def check_config(found: object, library: Library, place: str) -> None:
    """Refuses what is no config of a model.

    Raises:
        WrongTargetError: it is no JSON object, or lacks the key that names the model.
    """
    key = _KEY[library]
    if not isinstance(found, dict):
        raise WrongTargetError(
            f"{place} is no config of a model: it holds a {type(found).__name__}, not an object "
            f'with "{key}"'
        )
    if isinstance(found.get(key), str):
        return
    other = next((one for one, its in _KEY.items() if isinstance(found.get(its), str)), None)
    if other is not None:
        raise WrongTargetError(
            f'{place} is a config of {other.package} ("{_KEY[other]}"): write {other.value}:{place}'
        )
    hint = ""
    if "peft_type" in found:
        hint = "; it is a config of adapters: name the base model, with --task lora"
    elif "_class_name" not in found and "_diffusers_version" in found:
        hint = "; it is a part of a pipeline: name the config.json of its denoiser"
    raise WrongTargetError(f'{place} is no config of a model: it has no "{key}"{hint}')
