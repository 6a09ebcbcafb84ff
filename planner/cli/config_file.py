"""Reads default options and checks of a project: planner.toml, or pyproject.toml [tool.planner].

In: the working directory. Out: ConfigFile, its values as TOML has them. Convention: the nearest
file counts, up to the root of the repository or the home folder; outside of both, only the working
directory counts, because other users may write to the folders above it.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from planner.config.near_words import near
from planner.errors import UsageError

OWN_FILE = "planner.toml"
_PROJECT_FILE = "pyproject.toml"
_OF_PROJECT = re.compile(r"^\s*\[+\s*tool\s*\.\s*planner\s*[\].]", re.MULTILINE)
_DEFAULTS, _CHECK = "defaults", "check"
_MOST_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigFile:
    """A file of defaults: `place` is its name in messages, `defaults` are by long option.

    `checks` are its tables [[check]], as they are.
    """

    path: Path
    place: str
    defaults: Mapping[str, Any]
    checks: tuple[Mapping[str, Any], ...] = ()


def find_config(start: Path | None = None, home: Path | None = None) -> ConfigFile | None:
    """Returns the config file of a working directory, by default this process's; None without one.

    Raises:
        UsageError: it cannot be read, is not TOML, or has a wrong or unknown table or key.
    """
    try:
        start = start or Path.cwd()
    except OSError:  # the working directory was removed
        return None
    for folder in _folders(start, home or _home()):
        own, project = folder / OWN_FILE, folder / _PROJECT_FILE
        if _is_file(own):
            return _config(own, str(own), _parsed(own, _text(own)))
        if _is_file(project):
            found = _of_project(project)
            if found is not None:
                return found
    return None


def looked_at() -> list[Path]:
    """Returns the paths that decide which file `find_config` finds here, there or not."""
    try:
        folders = _folders(Path.cwd(), _home())
    except OSError:
        return []
    names = (OWN_FILE, _PROJECT_FILE, ".git")
    return [folder / name for folder in folders for name in names]


def read_config(path: Path) -> ConfigFile:
    """Returns the content of a named file; a pyproject.toml has it under [tool.planner].

    Raises:
        UsageError: it is not there, is not TOML, or has a wrong or unknown table or key.
    """
    if path.suffix == ".py":
        raise UsageError(
            f"{path} is no file of checks; to ask whether a model fits: planner estimate {path}"
        )
    if not _is_file(path):
        raise UsageError(f"there is no file {path}; checks stand in planner.toml as [[check]]")
    if path.name != _PROJECT_FILE:
        return _config(path, str(path), _parsed(path, _text(path)))
    found = _of_project(path)
    if found is None:
        raise UsageError(f"{path} has no table [tool.planner]")
    return found


def _of_project(project: Path) -> ConfigFile | None:
    text = _text(project)
    if not _OF_PROJECT.search(text):
        return None
    tables = _parsed(project, text)["tool"]["planner"]
    return _config(project, f"{project} [tool.planner]", tables)


def _is_file(path: Path) -> bool:
    """Returns whether the path is a file; False in a folder that we may not read."""
    try:
        return path.is_file()
    except OSError:
        return False


def _home() -> Path | None:
    try:
        return Path.home()
    except RuntimeError:
        return None


def _folders(start: Path, home: Path | None) -> Iterator[Path]:
    """Yields the folder and those above it, up to the repository or home folder; else it alone."""
    every = [start, *start.parents]
    for position, folder in enumerate(every):
        if folder == home or os.path.lexists(folder / ".git"):
            yield from every[: position + 1]
            return
    yield start


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise UsageError(f"{path}: more than {_MOST_BYTES} bytes; --no-config ignores it")
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}; --no-config ignores it") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: it is not UTF-8; --no-config ignores it") from error


def _parsed(path: Path, text: str) -> dict[str, Any]:
    # Python 3.10 has no tomllib; tomli is the same under another name
    toml = import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    try:
        parsed: dict[str, Any] = toml.loads(text)
    except toml.TOMLDecodeError as error:
        raise UsageError(f"{path}: it is not TOML: {error}; --no-config ignores it") from error
    return parsed


def _config(path: Path, place: str, tables: object) -> ConfigFile:
    if not isinstance(tables, dict):
        raise UsageError(f"{place}: it must be a table with a table [{_DEFAULTS}] in it")
    for name in tables:
        if name not in (_DEFAULTS, _CHECK):
            raise UsageError(f"{place}: there is no table or key {name!r}; {_hint(name)}")
    defaults = tables.get(_DEFAULTS, {})
    if not isinstance(defaults, dict):
        raise UsageError(f"{place}: {_DEFAULTS} must be a table: [{_DEFAULTS}], then gpu = ...")
    checks = tables.get(_CHECK, [])
    if not isinstance(checks, list) or not all(isinstance(one, dict) for one in checks):
        raise UsageError(f"{place}: {_CHECK} must be tables: [[{_CHECK}]], then target = ...")
    return ConfigFile(path=path, place=place, defaults=defaults, checks=tuple(checks))


def _hint(name: str) -> str:
    if near(name, [_DEFAULTS]):
        return f"did you mean [{_DEFAULTS}]?"
    return f"options stand under [{_DEFAULTS}]"
