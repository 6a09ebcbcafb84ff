"""The pipes of a child: whole lines in, whole lines out, and nobody else holds an end.

In: descriptors. Out: bytes. A pipe's end is seen by the other side only when every copy is closed.
"""

from __future__ import annotations

import os
from collections import deque
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
        self._parts: list[
            bytes
        ] = []  # of a line that has not ended; joined once, as it may be long
        self._arrived: deque[bytes] = deque()

    def wait(self) -> bytes | None:
        """The next line; None at the end."""
        while not self._arrived:
            if not self._read():
                return None
        return self._arrived.popleft()

    def available(self) -> list[bytes] | None:
        """Lines that have arrived, after the descriptor became readable; None at the end."""
        if not self._read():
            return None
        lines, self._arrived = list(self._arrived), deque()
        return lines

    def _read(self) -> bool:
        data = os.read(self.descriptor, 1 << 16)
        first, *others = data.split(b"\n")
        self._parts.append(first)
        for part in others:
            self._arrived.append(b"".join(self._parts))
            self._parts = [part]
        return bool(data)
