"""Runs at the start of every Python process of a command under `planner run`.

In: the file that VRAM_PLANNER_RUN names (wire/script.py). Out: a finder for torch, which loads the
emulated device before torch and the hooks after it. Convention: this file needs the standard
library alone; planner's modules are imported under a private name, so that a package `planner` of
the script's own is untouched. Without the file of the order torch is refused: a real card is never
used instead.
"""

from __future__ import annotations

import ast
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

_VARIABLE = "VRAM_PLANNER_RUN"
_OWN, _PRIVATE = "planner", "_vram_planner"
_HERE = Path(__file__).resolve().parent
_PACKAGE = _HERE.parents[2]
_BEGIN = f"{_PRIVATE}.worker.script.begin"


class _Renamed(ast.NodeTransformer):
    """Replaces the name of the package in import statements."""

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.ImportFrom:  # ast's name
        module = node.module or ""
        if not node.level and (module == _OWN or module.startswith(f"{_OWN}.")):
            node.module = _PRIVATE + module[len(_OWN) :]
        return node

    def visit_Import(self, node: ast.Import) -> ast.Import:  # ast's name
        for alias in node.names:
            if alias.name == _OWN or alias.name.startswith(f"{_OWN}."):
                raise ImportError(f"write `from {alias.name} import ...` in modules for scripts")
        return node


class _PrivateLoader(importlib.machinery.SourceFileLoader):
    """Loads a module of planner under the private name; writes no bytecode."""

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        tree = _Renamed().visit(ast.parse(self.get_data(path), path))
        code: CodeType = compile(tree, path, "exec", dont_inherit=True)
        return code


class _PrivateFinder(importlib.abc.MetaPathFinder):
    """Finds modules with the private name in the folder of this planner, and no others."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        first, *rest = fullname.split(".")
        if first != _PRIVATE:
            return None
        if not rest:  # without planner's own __init__, which imports the parent's side by name
            spec = importlib.machinery.ModuleSpec(fullname, None, is_package=True)
            spec.submodule_search_locations = [str(_PACKAGE)]
            return spec
        place = _PACKAGE.joinpath(*rest)
        is_package = place.is_dir()
        file = place / "__init__.py" if is_package else place.with_suffix(".py")
        if not file.is_file():
            return None
        return importlib.util.spec_from_file_location(
            fullname,
            file,
            loader=_PrivateLoader(fullname, str(file)),
            submodule_search_locations=[str(place)] if is_package else None,
        )


class _TorchFinder(importlib.abc.MetaPathFinder):
    """Loads the device just before torch is imported, and the hooks just after."""

    def __init__(self, order: str) -> None:
        self._order = order

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != "torch":
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.loader is None:
            return spec
        loader: Any = spec.loader
        execute = loader.exec_module

        # Not in find_spec: libraries look whether there is a torch without importing it. Not in
        # exec_module: torch is in sys.modules by then.
        def create_module(spec: importlib.machinery.ModuleSpec) -> None:
            importlib.import_module(_BEGIN).before_torch(self._order)

        def exec_module(module: ModuleType) -> None:
            if self in sys.meta_path:
                sys.meta_path.remove(self)
            execute(module)
            importlib.import_module(_BEGIN).after_torch(self._order)

        loader.create_module, loader.exec_module = create_module, exec_module
        return spec


class _Refusal(importlib.abc.MetaPathFinder):
    """Refuses torch: this process belongs to a run of planner that is over."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> None:
        if fullname == "torch":
            raise ImportError(
                "this process was started under `planner run`, which has ended: torch is not "
                f"imported, so that nothing runs on a real card (unset {_VARIABLE} and PYTHONPATH)"
            )


def _begin() -> None:
    sys.meta_path.insert(0, _PrivateFinder())
    try:
        order = Path(os.environ[_VARIABLE]).read_text(encoding="utf-8")
    except (KeyError, OSError):
        sys.meta_path.insert(0, _Refusal())
        return
    sys.meta_path.insert(0, _TorchFinder(order))


def _chain() -> None:
    """Runs the sitecustomize that this file hides, as if it were not hidden."""
    others = [entry for entry in sys.path if Path(entry or ".").resolve() != _HERE]
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", others)
    if spec is None or spec.loader is None:
        return
    module = importlib.util.module_from_spec(spec)
    sys.modules["sitecustomize"] = module
    spec.loader.exec_module(module)


_begin()
_chain()
