"""Names a line of source so that the name stays when lines above it are added or removed.

In: FILE:LINE with an absolute path, and the folder of the project. Out: SourceName. Convention: a
file in the project is named by its path in it, one of an installed package by its path in
site-packages, any other by its last part: no name has a path outside of the project.
"""

from __future__ import annotations

import ast
import os
import warnings
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

_MOST_CHARACTERS = 100
_MOST_BYTES = 1 << 22
_BUILDER = "build_model"
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_PACKAGES = ("site-packages", "dist-packages")


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceName:
    """`name` is the file and the text of the line, `place` is FILE:LINE; both without folders
    outside of the project. `is_inside`: the file is part of the project.
    """

    name: str
    place: str
    is_inside: bool


def source_name(source: str, root: Path) -> SourceName:
    """Returns the name of FILE:LINE; without the text of the line if it cannot be read."""
    path, _, number = source.rpartition(":")
    file, is_inside = _file_name(path, root)
    text = _line(path, int(number)) if number.isdecimal() else ""
    return SourceName(
        name=f"{file}: {text}" if text else f"{file}:{number}",
        place=f"{file}:{number}",
        is_inside=is_inside,
    )


def _file_name(path: str, root: Path) -> tuple[str, bool]:
    resolved = os.path.realpath(path)
    folder = os.path.realpath(root)
    parts = Path(resolved).parts
    for packages in _PACKAGES:
        if packages in parts:
            return "/".join(parts[parts.index(packages) + 1 :]), False
    if resolved.startswith(folder.rstrip("/") + "/"):
        return os.path.relpath(resolved, folder), True
    return parts[-1] if parts else path, False


def _line(path: str, number: int) -> str:
    try:
        lines = _lines(path, os.stat(path).st_mtime_ns)
    except (OSError, ValueError):
        return ""
    if not 0 < number <= len(lines):
        return ""
    return " ".join(lines[number - 1].split())[:_MOST_CHARACTERS].strip()


@lru_cache(maxsize=256)
def _lines(path: str, changed_ns: int) -> tuple[str, ...]:
    if os.path.getsize(path) > _MOST_BYTES:
        return ()
    return tuple(Path(path).read_text(encoding="utf-8", errors="replace").splitlines())


def definition_line(file: Path, name: str | None) -> int:
    """Returns the line in `file` that defines `name`, or build_model without a name; else 1."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return 1
    wanted = name or _BUILDER
    for node in tree.body:
        if isinstance(node, _DEFINITIONS) and node.name == wanted:
            return node.lineno
    return 1
