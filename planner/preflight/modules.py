"""Finds the module of a dotted name with the finders of this interpreter; imports nothing.

In: a name such as torchvision.models. Out: FoundModule. Convention: the child searches where this
process does, and in the working directory first; an unclear case is `None`, never a guess.
"""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

_OF_FOLDERS = ("NoneType", "NamespaceLoader", "_NamespaceLoader")  # depends on Python's version
_INPUT = "--input 3x224x224"
_INPUTS = {"inception_v3": "--input 3x299x299"}


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundModule:
    """The part of a dotted name that exists: its first `parts` names.

    `file` is the file of the last of them, None if it has none; `folders` are those of its own
    modules. `is_folder`: it is a folder without an `__init__.py`, and binds no name.
    """

    parts: int
    file: Path | None = None
    folders: tuple[Path, ...] = ()
    is_folder: bool = False


def find_module(name: str) -> FoundModule | None:
    """Returns the part of the name that exists; None if only an import would show it."""
    names = name.split(".")
    if names[0] == "__main__":
        return None  # the child has another __main__
    try:
        spec, folders = _first(names[0])
        parts = 0 if spec is None else 1
        while 0 < parts < len(names) and folders:
            inner = PathFinder.find_spec(".".join(names[: parts + 1]), folders)
            if inner is None:
                break
            spec, folders, parts = inner, _folders(inner), parts + 1
    except (ImportError, ValueError, OSError, AttributeError):
        return None
    if spec is None:
        return FoundModule(parts=0)
    return FoundModule(
        parts=parts,
        file=Path(spec.origin) if spec.origin and spec.has_location else None,
        folders=tuple(map(Path, folders)),
        is_folder=spec.origin is None and type(spec.loader).__name__ in _OF_FOLDERS,
    )


def _first(name: str) -> tuple[ModuleSpec | None, list[str]]:
    """Returns the module of a name without dots, and the folders of its own modules.

    Raises:
        ImportError: there are several of that name, and the child may take a different one.
    """
    here = os.getcwd()
    others = [entry for entry in sys.path if entry not in ("", here)]
    found = [
        PathFinder.find_spec(name, [here]),
        PathFinder.find_spec(name, others),
        importlib.util.find_spec(name),  # uses the finders of editable installs too
    ]
    there = [spec for spec in found if spec is not None]
    whole = {spec.origin: spec for spec in there if spec.origin is not None}
    if len(whole) > 1:
        raise ImportError(name)
    if whole:  # a folder counts only where nothing else has the name
        (spec,) = whole.values()
        return spec, _folders(spec)
    folders = dict.fromkeys(folder for spec in there for folder in _folders(spec))
    return (there[0] if there else None), list(folders)


def _folders(spec: ModuleSpec) -> list[str]:
    return list(spec.submodule_search_locations or ())


def declares(found: FoundModule, name: str) -> bool:
    """Returns whether the module defines the name, or a file directly in its package does."""
    if found.file is None:
        return False
    declared = re.compile(rf"^(?:async def|def|class) {re.escape(name)}\b", re.MULTILINE)
    files = [found.file, *(file for folder in found.folders for file in folder.glob("*.py"))]
    return any(declared.search(_text(file)) for file in files)


def may_make_modules(found: FoundModule) -> bool:
    """Returns whether a package mentions __path__ or sys.modules: it may have other modules."""
    return found.file is not None and bool(re.search(r"__path__|sys\.modules", _text(found.file)))


def torchvision_models() -> dict[str, str]:
    """Returns the models of torchvision, each with its --input; none without torchvision."""
    found = find_module("torchvision.models")
    if found is None or found.parts != 2:
        return {}
    names = [
        name
        for folder in found.folders
        for file in sorted(folder.glob("[a-z]*.py"))
        for name in re.findall(r"^def ([a-z]\w*)\(\s*\*?,? ?weights\b", _text(file), re.MULTILINE)
    ]
    return {name: _INPUTS.get(name, _INPUT) for name in names}


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
