"""Looks whether the packages of a published model and of its task are installed.

In: a library and a task. Out: nothing, or an error with the command that installs them.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping

from planner.config.published import Library, Like, TaskConfig
from planner.errors import UsageError

# The extras of pyproject.toml; torchvision is a package of its own.
_EXTRAS: Mapping[Library, str] = {
    Library.TRANSFORMERS: "hf", Library.DIFFUSERS: "diffusers", Library.TIMM: "timm",
}  # fmt: skip


def check_packages(library: Library, task: TaskConfig) -> None:
    """Refuses a model whose library, or a task whose packages, are not installed.

    Raises:
        UsageError: names what is missing and the command that installs it.
    """
    needed = [library.package]
    if task.task.has_adapters:
        needed.append("peft")
    if task.weights_quant is not None:
        needed.append("bitsandbytes")
    if task.task.trains and task.like is Like.TRL:
        needed.append("trl")
    missing = [name for name in needed if not _is_installed(name)]
    if not missing:
        return
    extra = _EXTRAS.get(library)
    of_extra = extra is not None and missing != ["trl"]
    command = f"pip install 'vram-planner[{extra}]'" if of_extra else f"pip install {missing[0]}"
    of = f"{library.value}: with --task {task.task.value}"
    if "trl" in missing:
        of += " --like trl"
    raise UsageError(
        f"{' and '.join(missing)} cannot be imported here, and {of} needs "
        f"{'it' if len(missing) == 1 else 'them'}: {command}"
    )


def _is_installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False
