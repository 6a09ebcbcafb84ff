"""The Python of a script: its version, and the torch that it would import.

In: the words that start it. Out: Interpreter, by one question to a short process. Convention: the
process imports planner's own search for torch by its path; it imports no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import planner._version
from planner.emulator.torch_install import TorchInstall
from planner.errors import UnsupportedPlatformError
from planner.process.script.asked import MARK, answer_of

_LEAST = (3, 10)
_PATIENCE_S = 120.0
_QUESTION = """\
import sys
said = {"version": sys.version.split()[0]}
if sys.version_info >= (3, 10):
    import json
    from dataclasses import asdict
    from importlib.machinery import PathFinder
    from importlib.util import module_from_spec
    spec = PathFinder.find_spec("planner", [sys.argv[1]])
    sys.modules["planner"] = module_from_spec(spec)
    spec.loader.exec_module(sys.modules["planner"])
    from planner.emulator.torch_install import find_torch
    from planner.errors import PlannerError
    try:
        said["torch"] = asdict(find_torch())
    except PlannerError as error:
        said["error"] = str(error)
    print("MARK" + json.dumps(said, default=str))
else:
    print("MARK" + '{"version": "%s"}' % said["version"])
""".replace("MARK", MARK)
_PATHS = ("folder", "cudnn_library", "triton_folder")
_LISTS_OF_PATHS = ("include_folders", "extension_folders")


@dataclass(frozen=True, slots=True, kw_only=True)
class Interpreter:
    """The version of a Python, and its torch."""

    version: str
    torch: TorchInstall


def interpreter_of(words: Sequence[str], working: Path) -> Interpreter:
    """Returns what the interpreter says of itself.

    Raises:
        UsageError: it does not start. UnsupportedPlatformError: it is too old, or its torch cannot
        be emulated.
    """
    root = Path(planner._version.__file__).resolve().parents[1]
    shown = " ".join(words)
    said = answer_of(
        words,
        _QUESTION,
        [str(root)],
        working=working,
        patience_s=_PATIENCE_S,
        not_started=f"`{shown}` does not start",
        no_answer=f"`{shown}` does not answer as Python",
    )
    version = str(said["version"])
    if tuple(map(int, version.split(".")[:2])) < _LEAST:
        raise UnsupportedPlatformError(
            f"`{shown}` is Python {version}; planner run needs {_LEAST[0]}.{_LEAST[1]} or newer"
        )
    if "error" in said:
        raise UnsupportedPlatformError(f"`{shown}` (Python {version}): {said['error']}")
    return Interpreter(version=version, torch=_torch_of(said["torch"]))


def _torch_of(said: dict[str, Any]) -> TorchInstall:
    for name in _PATHS:
        said[name] = None if said[name] is None else Path(said[name])
    for name in _LISTS_OF_PATHS:
        said[name] = tuple(map(Path, said[name]))
    return TorchInstall(**said)
