"""Where a dotted name leads, by the finders of this interpreter; nothing is imported.

In: a name such as torchvision.models. Out: FoundModule. Convention: the child searches where this
process does, and in the working directory first; what is not clear is `None`, never a guess.
"""

from __future__ import annotations

import importlib.util
import os
import re
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

_INPUT = "--input 3x224x224"
_INPUTS = {"inception_v3": "--input 3x299x299"}


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundModule:
    """How far a dotted name leads: `parts` of it are there.

    `file` is the source of the last of them, `folders` where its own modules are. A package that
    is a folder alone has no file.
    """

    parts: int
    file: Path | None
    folders: tuple[Path, ...]


def find_module(name: str) -> FoundModule | None:
    """How far the name leads; None where this cannot be seen without importing."""
    first, *rest = name.split(".")
    try:
        here = PathFinder.find_spec(first, [os.getcwd()])
        elsewhere = importlib.util.find_spec(first)
    except (ImportError, ValueError, OSError, AttributeError):
        return None
    # a folder alone counts only where nothing else has the name
    spec = here if elsewhere is None or (here is not None and here.has_location) else elsewhere
    if spec is None:
        return FoundModule(parts=0, file=None, folders=())
    parts = 1
    for part in rest:
        folders = _folders(spec)
        try:
            inner = PathFinder.find_spec(f"{'.'.join(name.split('.')[:parts])}.{part}", folders)
        except (ImportError, ValueError, OSError, AttributeError):
            return None
        if not folders or inner is None:
            break
        spec, parts = inner, parts + 1
    file = Path(spec.origin) if spec.origin and spec.has_location else None
    return FoundModule(parts=parts, file=file, folders=tuple(map(Path, _folders(spec))))


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
