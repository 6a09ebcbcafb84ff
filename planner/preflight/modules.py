"""Where a dotted name leads, by the finders of this interpreter; nothing is imported.

In: a name such as torchvision.models. Out: FoundModule. Convention: the child searches where this
process does, and in the working directory first; what is not clear is `None`, never a guess.
"""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

_OF_FOLDERS = ("NoneType", "NamespaceLoader", "_NamespaceLoader")  # by version of Python
_INPUT = "--input 3x224x224"
_INPUTS = {"inception_v3": "--input 3x299x299"}


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundModule:
    """How far a dotted name leads: `parts` of it are there.

    `file` is that of the last of them, None where it has none; `folders` are where its own modules
    are. `is_folder`: it is a folder alone, without an `__init__.py`, and binds no name.
    """

    parts: int
    file: Path | None = None
    folders: tuple[Path, ...] = ()
    is_folder: bool = False


def find_module(name: str) -> FoundModule | None:
    """How far the name leads; None where this cannot be seen without importing."""
    names = name.split(".")
    if names[0] == "__main__":
        return None  # another one in the child
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
    """The module of a name without dots, and the folders of its own modules.

    Raises:
        ImportError: there are several of that name, and the child may take another one than we.
    """
    here = os.getcwd()
    others = [entry for entry in sys.path if entry not in ("", here)]
    found = [
        PathFinder.find_spec(name, [here]),
        PathFinder.find_spec(name, others),
        importlib.util.find_spec(name),  # asks the finders of editable installs too
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
    """Whether a module defines the name, or a file of the package that it opens."""
    if found.file is None:
        return False
    declared = re.compile(rf"^(?:async def|def|class) {re.escape(name)}\b", re.MULTILINE)
    files = [found.file, *(file for folder in found.folders for file in folder.glob("*.py"))]
    return any(declared.search(_text(file)) for file in files)


def may_make_modules(found: FoundModule) -> bool:
    """Whether a package does what gives it modules that are no files of it."""
    return found.file is not None and bool(re.search(r"__path__|sys\.modules", _text(found.file)))


def torchvision_models() -> dict[str, str]:
    """Names of torchvision.models, each with the option for its pictures; none without it."""
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
