"""Leaves paths and source lines out of a page that is to be shared.

In: the data of a page, which are plain dicts, lists and texts. Out: the same without them.
Convention: names of modules, tensors and operators stay. A text that names a file says so in words.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import PurePath
from typing import Any

PLACE = "(path left out)"
_NAME = r"[\w.@+-]"
_SUFFIXES = (
    "bin|cfg|ckpt|csv|gguf|h5|ini|ipynb|json|jsonl|npz|parquet|planner|pt|pth|py|pyc|safetensors|sh"
    "|so|sqlite|toml|txt|yaml|yml|zip"
)
_PATHS = re.compile(
    rf"(?<![\w/])~?/{_NAME}[^\s'\"<>,;:)(]*(?::\d+)?"  # /home/me/net.py:12, ~/net
    rf"|(?<![\w/])\.\.?/[^\s'\"<>,;:)(]+(?::\d+)?"  # ./net.py, ../net
    rf"|(?<![\w/])(?:{_NAME}+/)*{_NAME}*\.(?:{_SUFFIXES})\b(?::\d+)?(?::\w+)?"  # models/net.py:Net
    r"|\b[A-Za-z]:\\[^\s'\"<>,;]+"  # C:\net.py
)


def target_name(target: str) -> str:
    """Returns the name of a model without its file: of models/net.py:Net, Net."""
    name = target.rpartition(":")[2]
    return name if name.isidentifier() and ":" in target else "model"


def redacted(value: Any, target: str, sources: Collection[str] = ()) -> Any:
    """Returns the value without paths: the target's, those of `sources`, and what looks like one.

    A key `source` is emptied.
    """
    known = {target, target.rpartition(":")[0]}
    for source in sources:
        file = source.rpartition(":")[0]
        known |= {source, file, PurePath(file).name}
    longest_first = sorted(filter(None, known), key=len, reverse=True)
    return _without(value, [one for one in longest_first if len(one) > 1], target)


def _without(value: Any, known: list[str], target: str) -> Any:
    if isinstance(value, str):
        if value == target:
            return target_name(target)
        for one in known:
            value = value.replace(one, PLACE)
        return _PATHS.sub(PLACE, value)
    if isinstance(value, Mapping):
        return {
            key: _emptied(one) if key == "source" else _without(one, known, target)
            for key, one in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [_without(one, known, target) for one in value]
    return value


def _emptied(value: Any) -> Any:
    return [""] * len(value) if isinstance(value, list) else ""
