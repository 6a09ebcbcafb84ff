"""Imports the user's model file or module.

In: a path or a dotted name. Out: the module object. Convention: a file is imported under its
stem with its folder first on sys.path, so that it can import its siblings and pickles can name it;
no bytecode is written into the user's folder.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.machinery import (
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    SourceFileLoader,
)
from pathlib import Path
from types import ModuleType
from typing import Any

from planner.errors import ModelError, TargetError
from planner.worker.model.meta import parameters_on_meta
from planner.worker.target.frames import describe, user_frames
from planner.worker.target.unloadable import library_error


def import_file(path: Path) -> ModuleType:
    """Returns the module of a Python file of the user.

    Raises:
        TargetError: there is no such file, it is not a Python file, or its syntax is wrong.
        ModelError: the file raised while it was imported.
    """
    path = path.expanduser().resolve()
    _check_file(path)
    folder = str(path.parent)
    _leave_no_bytecode_under(folder)
    if folder not in sys.path[:1]:
        sys.path.insert(0, folder)
    name = _free_module_name(path)
    with _errors_taught(str(path)):
        return _without_weights(lambda: _execute(name, path), name)


def import_module(name: str) -> ModuleType:
    """Returns the module of a dotted name, searched from the working directory first.

    Raises:
        TargetError: there is no such module.
        ModelError: the module raised while it was imported.
    """
    here = os.getcwd()
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)
    try:
        with _errors_taught(name):
            return _without_weights(lambda: importlib.import_module(name), name)
    except ModelError as error:
        cause = error.__cause__
        if isinstance(cause, ModuleNotFoundError) and cause.name and _is_part(cause.name, name):
            raise TargetError(
                f"there is no module {cause.name!r} to import for {name!r}; install it, or start "
                "from the folder that holds it, or name the file: path/to/model.py:NAME"
            ) from None
        raise


def _without_weights(run: Callable[[], ModuleType], name: str) -> ModuleType:
    """Imports without memory for a module-level `model`; if that raises, imports again with it.

    A file that reads its weights while it is imported cannot work without them.
    """
    known = set(sys.modules)
    try:
        with parameters_on_meta():
            return run()
    except SyntaxError:
        raise
    except Exception:
        if name in known:
            raise
        sys.modules.pop(name, None)
        return run()


def _execute(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path, loader=_Source(name, str(path)))
    if spec is None or spec.loader is None:
        raise TargetError(f"{path} cannot be imported as a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module


@contextmanager
def _errors_taught(what: str) -> Iterator[None]:
    try:
        yield
    except SyntaxError as error:
        code = f"\n    {error.text.strip()}" if error.text else ""
        raise TargetError(
            f"{error.filename or what}, line {error.lineno}: {type(error).__name__}: "
            f"{error.msg}{code}"
        ) from None
    except BaseException as error:
        unloadable = library_error(error)
        if unloadable is not None:
            raise unloadable from error
        raise ModelError(
            f"{what} raised while it was imported: {describe(error)}", user_frames(error)
        ) from error


def _check_file(path: Path) -> None:
    if path.is_dir():
        raise TargetError(f"{path} is a folder; name a Python file in it{_listed(path)}")
    if path.is_file():
        if path.suffix != ".py":
            raise TargetError(f"{path} is not a Python file; its name must end in .py")
        return
    if not path.parent.is_dir():
        raise TargetError(f"there is no file {path}, and no folder {path.parent}")
    names = [entry.name for entry in path.parent.glob("*.py")]
    near = difflib.get_close_matches(path.name, names, n=3)
    if near:
        raise TargetError(f"there is no file {path}; near it: {', '.join(near)}")
    raise TargetError(f"there is no file {path}{_listed(path.parent)}")


def _listed(folder: Path) -> str:
    names = sorted(entry.name for entry in folder.glob("*.py"))[:8]
    return f"; {folder} holds {', '.join(names)}" if names else f"; {folder} holds no Python file"


def _free_module_name(path: Path) -> str:
    """Returns the stem, or a longer name if another module has it (a file named like a library)."""
    known = sys.modules.get(path.stem)
    if known is None or getattr(known, "__file__", None) == str(path):
        return path.stem
    return f"{path.stem}_model_file"


def _is_part(missing: str, name: str) -> bool:
    return name == missing or name.startswith(missing + ".")


class _Source(SourceFileLoader):
    """Reads source as usual and never writes bytecode."""

    def set_data(self, path: str, data: Any, *, _mode: int = 0o666) -> None:
        """Does nothing: the user's folder stays unchanged."""


def _leave_no_bytecode_under(folder: str) -> None:
    """Lets modules under `folder` be imported, now or later, without __pycache__ there.

    sys.dont_write_bytecode would do so for every library, and each run would compile them anew.
    """

    def finder(path: str) -> FileFinder:
        relative = os.path.relpath(path or os.getcwd(), folder)
        parts = relative.split(os.sep)
        if parts[0] == os.pardir or {"site-packages", "dist-packages"} & set(parts):
            raise ImportError("not the user's folder")
        return FileFinder(
            path, (ExtensionFileLoader, EXTENSION_SUFFIXES), (_Source, SOURCE_SUFFIXES)
        )

    sys.path_hooks.insert(0, finder)
    for known in [path for path in sys.path_importer_cache if path.startswith(folder)]:
        del sys.path_importer_cache[known]
