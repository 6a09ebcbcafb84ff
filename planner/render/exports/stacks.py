"""The origin of a request as a call stack, for programs that show memory by stack.

In: Origin. Out: frames, the outermost first. Convention: modules by their dotted path, each inside
its parent, then the tensor if it has a name, the operator, the source line. Nothing is made up:
what is not known has no frame, and functions have no names, because none are recorded.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from itertools import accumulate
from pathlib import PurePath

from planner.wire.trace import Origin

OUTSIDE = "(outside of any submodule)"


class FrameKind(str, Enum):
    """What a frame stands for."""

    MODULE = "module"
    TENSOR = "tensor"
    OPERATOR = "operator"
    SOURCE = "source"


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """A frame of a stack; `file` and `line` are those of a SOURCE, else "" and 0."""

    kind: FrameKind
    name: str
    file: str = ""
    line: int = 0


def frames_of(origin: Origin) -> tuple[Frame, ...]:
    """Returns the frames of an origin, the outermost first; at least one."""
    paths = list(accumulate(origin.module.split("."), "{}.{}".format)) if origin.module else []
    frames = [Frame(kind=FrameKind.MODULE, name=path) for path in paths or [OUTSIDE]]
    if origin.tensor:
        frames.append(Frame(kind=FrameKind.TENSOR, name=origin.tensor))
    if origin.operator:
        frames.append(Frame(kind=FrameKind.OPERATOR, name=origin.operator))
    file, _, line = origin.source.rpartition(":")
    if file and line.isdecimal():
        name = f"{PurePath(file).name}:{line}"
        frames.append(Frame(kind=FrameKind.SOURCE, name=name, file=file, line=int(line)))
    elif origin.source:
        frames.append(Frame(kind=FrameKind.SOURCE, name=origin.source))
    return tuple(frames)
