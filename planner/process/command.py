"""Makes the command and the environment that start a child.

In: this interpreter and its environment. Out: the same Python with the same packages. Files of the
working directory change nothing: a types.py there must not hide Python's own. The user's code sees
the same variables as without planner, except those named here.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import planner._version
from planner.wire.protocol import ALLOC_CONF_VARIABLES

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
# These variables would switch PyTorch's allocator off.
_ALLOCATOR_SWITCHES = ("PYTORCH_NO_CUDA_MEMORY_CACHING", "PYTORCH_NO_HIP_MEMORY_CACHING")


def child_command(descriptors: tuple[int, ...]) -> list[str]:
    """Returns the command that starts a child with these descriptors."""
    return [*planner_command("planner.worker.__main__"), *map(str, descriptors)]


def planner_command(module: str) -> list[str]:
    """Returns the command that calls `main` of a module of planner in a new process."""
    root = Path(planner._version.__file__).resolve().parents[1]
    search_path = ":".join(entry for entry in sys.path if entry)
    return [sys.executable, "-c", _BOOTSTRAP, str(root), search_path, module]


def child_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """Returns this environment with the changes that the emulated card needs, then `extra`."""
    environment = dict(os.environ)
    # The emulated card is the only one that the child may see.
    environment.pop("CUDA_VISIBLE_DEVICES", None)
    for name in _ALLOCATOR_SWITCHES:
        environment.pop(name, None)
    if any(name in extra for name in ALLOC_CONF_VARIABLES):
        for name in ALLOC_CONF_VARIABLES:
            environment.pop(name, None)
    # Out of memory is a result here, not a warning of the allocator on the terminal.
    environment["TORCH_CPP_LOG_LEVEL"] = "ERROR"
    environment["PYTHONHASHSEED"] = "0"  # the same run gives the same bytes
    # torch.compile would start helper processes without the emulated device.
    environment["TORCHINDUCTOR_COMPILE_THREADS"] = "1"
    environment.update(extra)
    return environment
