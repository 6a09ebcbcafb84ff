"""Makes the command that starts a child.

In: this interpreter. Out: the same Python with the same packages. Files of the working directory
change nothing: a types.py there must not hide Python's own.
"""

from __future__ import annotations

import sys
from pathlib import Path

import planner._version

# `python -m` and `python -c` search the working directory first: that entry is removed. planner
# is found by its folder and not by sys.path, where another `planner` may come first.
_BOOTSTRAP = """\
import sys
if sys.path[:1] == [""]:
    del sys.path[0]
root, search_path, module = sys.argv[1:4]
del sys.argv[1:4]
sys.path += [entry for entry in search_path.split(":") if entry not in sys.path]
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
spec = PathFinder.find_spec("planner", [root])
sys.modules["planner"] = module_from_spec(spec)
spec.loader.exec_module(sys.modules["planner"])
from importlib import import_module
sys.exit(import_module(module).main())
"""


def child_command(descriptors: tuple[int, ...]) -> list[str]:
    """Returns the command that starts a child with these descriptors."""
    return [*planner_command("planner.worker.__main__"), *map(str, descriptors)]


def planner_command(module: str) -> list[str]:
    """Returns the command that calls `main` of a module of planner in a new process."""
    root = Path(planner._version.__file__).resolve().parents[1]
    search_path = ":".join(entry for entry in sys.path if entry)
    return [sys.executable, "-c", _BOOTSTRAP, str(root), search_path, module]
