"""Names the modules that are loaded, and those that were looked for and are not there.

In: sys.modules, sys.path. Out: files of modules, names by the folder that they were looked for in.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec
from types import ModuleType

from planner.wire.reads import is_installed


@dataclass(slots=True)
class MissingModules:
    """The last finder of sys.meta_path: it is asked for what no other has found."""

    names: set[str] = field(default_factory=set)
    in_packages: dict[str, set[str]] = field(default_factory=dict)

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Notes the name; finds nothing."""
        if path is None:
            self.names.add(name)
        else:
            for folder in path:
                self.in_packages.setdefault(folder, set()).add(name.rpartition(".")[2])
        return None

    def invalidate_caches(self) -> None:
        """Does nothing: nothing is found."""


def module_files() -> dict[str, str]:
    """Returns the file of each loaded module by name, of those that have one."""
    found = {}
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__dict__", {}).get("__file__")
        if isinstance(file, str) and os.path.isabs(file):
            found[name] = file
    return found


def top_level_names() -> set[str]:
    """Returns the names of loaded modules that are in no package."""
    return {name for name in list(sys.modules) if "." not in name}


def names_by_folder(files: dict[str, str]) -> dict[str, set[str]]:
    """Returns for each folder of a package of the user the modules that were found in it."""
    found: dict[str, set[str]] = {}
    for name, file in files.items():
        if "." not in name or is_installed(file):
            continue
        folder, base = os.path.split(file)
        if base.split(".")[0] == "__init__":
            folder = os.path.dirname(folder)
        found.setdefault(folder, set()).add(name.rpartition(".")[2])
    return found
