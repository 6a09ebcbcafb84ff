"""The target as data: a file, a name in it, and arguments for building the model.

In: words of the user, parsed here once. Out: a frozen record that goes to the child as JSON.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

from planner.config.published import PublishedModel
from planner.config.scalars import Scalar
from planner.errors import UsageError

__all__ = ["Scalar", "Target", "TargetKind", "parse_argument", "parse_target"]


class TargetKind(str, Enum):
    """Where the model comes from."""

    FILE = "file"  # a Python file of the user
    MODULE = "module"  # an importable module: package.module:NAME
    LIBRARY = "library"  # a published model of a library: hf:org/name, timm:resnet50
    PICKLE = "pickle"  # live Python objects, sent by planner.estimate() itself


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The source of the model: a file or module, the name in it, and arguments for it.

    `location` is a path (FILE), a dotted module name (MODULE), the path of the pickle (PICKLE) or
    the whole text of the target (LIBRARY), whose model is `published`.
    """

    kind: TargetKind
    location: str
    name: str | None = None
    arguments: tuple[tuple[str, Scalar], ...] = ()
    published: PublishedModel | None = None

    @property
    def label(self) -> str:
        """Returns the target as the user wrote it."""
        return f"{self.location}:{self.name}" if self.name else self.location


def parse_target(text: str, arguments: tuple[tuple[str, Scalar], ...] = ()) -> Target:
    """Parses `models/gpt2.py`, `FILE:NAME` or `package.module:NAME`.

    Raises:
        UsageError: the text is none of the three.
    """
    path, separator, name = text.rpartition(":")
    if not separator or not name.isidentifier():
        path, name = text, ""
    if path.endswith(".py") or "/" in path:
        return Target(kind=TargetKind.FILE, location=path, name=name or None, arguments=arguments)
    if not path or not all(part.isidentifier() for part in path.split(".")):
        raise UsageError(
            f"{text!r} is neither a Python file nor package.module:NAME; "
            "write models/gpt2.py, models/llama.py:llama_1b or torchvision.models:resnet50"
        )
    return Target(kind=TargetKind.MODULE, location=path, name=name or None, arguments=arguments)


def parse_argument(text: str) -> tuple[str, Scalar]:
    """Parses `k=v`; v is read as int, float, true/false, none or else text.

    Raises:
        UsageError: there is no `=` or the key is not an identifier.
    """
    key, separator, value = text.partition("=")
    if not separator or not key.isidentifier():
        raise UsageError(f"{text!r} is not of the form KEY=VALUE")
    words: dict[str, Scalar] = {"true": True, "false": False, "none": None}
    if value.lower() in words:
        return key, words[value.lower()]
    try:
        return key, int(value)
    except ValueError:
        pass
    try:
        number = float(value)
    except ValueError:
        return key, value
    if not math.isfinite(number):  # JSON, which carries it to the child, has no such number
        raise UsageError(f"{text!r}: {value} is not a finite number")
    return key, number
