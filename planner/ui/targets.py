"""The targets that may be asked for: model files of one folder, and models of the catalog.

In: a folder, and a target in the words of a browser. Out: lists to choose from; the target as the
command line takes it, in that folder. Convention: a path is refused unless the file that it leads
to, with all links followed, is in the folder. Nothing is read from anywhere else, or imported.
"""

from __future__ import annotations

import ast
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

from planner.catalog.catalog import all_models, find_model
from planner.config.published import Library
from planner.errors import UsageError, WrongTargetError
from planner.published.names import named_model

_MOST_FILES = 2000
_DEEPEST = 6
_LONGEST = 1000
_MOST_SOURCE_BYTES = 1 << 20
_NOT_LOOKED_INTO = frozenset(("__pycache__", "node_modules", "site-packages"))
_MARK_OF_A_VENV = "pyvenv.cfg"
_BUILDER = b"def build_model"


def model_files(folder: Path) -> list[str]:
    """Returns the Python files in the folder as paths in it, those with a build_model first.

    Hidden folders, virtual environments and links to folders are left out; so are files deeper
    than 6 folders, and those after the first 2,000.
    """
    found = []
    for path in _python_files(folder, _DEEPEST):
        name = path.relative_to(folder).as_posix()
        if name.isprintable() and ":" not in name and _inside(folder, path) is not None:
            found.append((not _has_builder(path), name))
            if len(found) == _MOST_FILES:
                break
    return [name for _, name in sorted(found)]


def catalog_targets() -> list[str]:
    """Returns the targets of all models of the catalog, like hf:openai-community/gpt2."""
    return [model.target for model in all_models()]


def checked_target(folder: Path, text: str) -> str:
    """Returns the target as a word for a command that runs in the folder.

    Raises:
        WrongTargetError: it is no Python file of the folder, and no model of the catalog.
    """
    if not text or len(text) > _LONGEST or not text.isprintable():
        raise WrongTargetError("choose a model file, or a model of the catalog")
    if named_model(text) is not None:
        return _of_the_catalog(folder, text)
    path, separator, name = text.rpartition(":")
    if not separator or not name.isidentifier():
        path, name = text, ""
    file = checked_file(folder, path)
    return f"{file}:{name}" if name else file


def checked_file(folder: Path, text: str) -> str:
    """Returns the path of a Python file, from the folder on.

    Raises:
        WrongTargetError: it is no such file, or not in the folder: a path with `..`, an absolute
            one, one of another drive, a link that leads out.
    """
    if not text or len(text) > _LONGEST or not text.isprintable():
        raise WrongTargetError("choose a model file")
    parts = text.split("/")
    if text.startswith(("/", "~")) or "\\" in text or ":" in text or ".." in parts:
        raise WrongTargetError(
            f"{text!r} is refused: only files of the folder that planner ui was started in"
        )
    path = folder / text
    inside = _inside(folder, path)
    if inside is None:
        raise WrongTargetError(
            f"{text!r} is refused: it leads out of the folder that planner ui was started in"
        )
    if path.suffix != ".py" or not os.path.isfile(inside):
        raise WrongTargetError(f"there is no Python file {text!r} in the folder")
    # Never taken for an option.
    return f"./{text}" if text.startswith("-") else text


def names_in(folder: Path, text: str) -> list[str]:
    """Returns the functions and classes of a Python file of the folder, as its source names them.

    Raises:
        WrongTargetError: as `checked_file`.
    """
    path = folder / checked_file(folder, text)
    try:
        if path.stat().st_size > _MOST_SOURCE_BYTES:
            return []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a "\d" in the file
            tree = ast.parse(path.read_bytes())
    except (OSError, ValueError, SyntaxError, RecursionError, MemoryError):
        return []  # the run says what is wrong with it
    kinds = (ast.FunctionDef, ast.ClassDef)
    return [one.name for one in tree.body if isinstance(one, kinds) and one.name[0] != "_"]


def checked_folder(folder: Path) -> Path:
    """Returns the folder with all links followed.

    Raises:
        UsageError: it is not a folder that can be read.
    """
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
        raise UsageError(f"{folder} {what}; name the folder that holds your model files")
    if not os.access(folder, os.R_OK | os.X_OK):
        raise UsageError(f"the folder {folder} may not be read")
    return folder.resolve()


def _of_the_catalog(folder: Path, text: str) -> str:
    named = named_model(text)
    assert named is not None
    if named.library not in (Library.TRANSFORMERS, Library.DIFFUSERS):
        raise WrongTargetError(
            f"{text!r} is refused: this page takes files of the folder and models of the catalog"
        )
    found = find_model(named.name)
    if found is None or found.target.partition(":")[0] != named.library.value:
        raise WrongTargetError(
            f"{named.name!r} is no model of the catalog; `planner models` lists them"
        )
    # A file or a folder of that name would come first (planner/published/lookup.py).
    if os.path.lexists(folder / found.name):
        raise WrongTargetError(
            f"{found.name} is also a file or folder here; rename it, or ask on the command line"
        )
    return found.target


def _inside(folder: Path, path: Path) -> Path | None:
    """Returns the file with all links followed; None if it is not in the folder."""
    resolved = Path(os.path.realpath(path))
    return resolved if resolved.is_relative_to(folder) else None


def _python_files(folder: Path, depth: int) -> Iterator[Path]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return
    folders = []
    for entry in entries:
        if entry.name.startswith("."):
            continue
        try:
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry)
            elif entry.name.endswith(".py") and entry.is_file():
                yield Path(entry.path)
        except OSError:
            continue
    for entry in folders:
        is_venv = os.path.lexists(os.path.join(entry.path, _MARK_OF_A_VENV))
        if depth > 1 and entry.name not in _NOT_LOOKED_INTO and not is_venv:
            yield from _python_files(Path(entry.path), depth - 1)


def _has_builder(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return _BUILDER in file.read(_MOST_SOURCE_BYTES)
    except OSError:
        return False
