"""The pipes of a child: whole lines in, whole lines out, and nobody else holds an end.

In: descriptors. Out: bytes. A pipe's end is seen by the other side only when every copy is closed.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field


@dataclass(slots=True)
class PrivateDescriptors:
    """Descriptors that no process forked by the user's code may keep open."""

    descriptors: list[int] = field(default_factory=list)

    def close(self) -> None:
        """Closes them in this process."""
        while self.descriptors:  # once: a process forked from that one has given them new uses
            os.close(self.descriptors.pop())


def write(descriptor: int, data: bytes) -> None:
    """Writes all of `data`, however little the pipe takes at a time."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


class Lines:
    """Lines of a pipe, waited for or taken as far as they have arrived."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._rest = b""

    def wait(self) -> bytes | None:
        """The next line; None at the end."""
        parts = [self._rest]
        while b"\n" not in parts[-1]:
            data = os.read(self.descriptor, 1 << 16)
            if not data:
                return None
            parts.append(data)
        line, _, self._rest = b"".join(parts).partition(b"\n")
        return line

    def available(self) -> list[bytes] | None:
        """Lines that have arrived, after the descriptor became readable; None at the end."""
        data = os.read(self.descriptor, 1 << 16)
        if not data:
            return None
        *lines, self._rest = (self._rest + data).split(b"\n")
        return lines
