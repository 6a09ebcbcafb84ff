"""The pipes of a child: whole lines in, whole lines out, and no other process holds an end.

In: descriptors. Out: bytes. A pipe's end is seen by the other side only when every copy is closed.
"""

from __future__ import annotations

import errno
import fcntl
import os
import resource
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field

_write = os.write  # the user's code may put a function of its own there
_HIGH = 900
_ROOM = 64  # numbers left above where the limit is low


@dataclass(slots=True)
class PrivateDescriptors:
    """Descriptors that no process forked by the user's code may keep open."""

    descriptors: list[int] = field(default_factory=list)

    def close(self) -> None:
        """Closes them in this process."""
        while self.descriptors:  # once: after another fork the numbers may be reused
            with suppress(OSError):  # the user's code has closed it already
                os.close(self.descriptors.pop())


def out_of_the_way(descriptor: int) -> int:
    """Moves a descriptor to a high number, which the user's code does not hit by chance.

    Some programs close or write to low numbers that they did not open. The number is below 1024,
    because select(2) takes no higher one.
    """
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    least = _HIGH if most == resource.RLIM_INFINITY else max(3, min(_HIGH, most - _ROOM))
    try:
        moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, least)
    except OSError:  # every high number is taken
        return descriptor
    os.close(descriptor)
    return moved


def write(descriptor: int, data: bytes) -> None:
    """Writes all of `data`, in several parts if necessary.

    Raises:
        OSError: nobody reads, the descriptor is closed, or it takes nothing.
    """
    view = memoryview(data)
    while view:
        taken = _write(descriptor, view)
        if taken <= 0:
            raise OSError(errno.EIO, f"descriptor {descriptor} takes nothing")
        view = view[taken:]


class Lines:
    """Lines of a pipe; waits for the next one, or takes those that have arrived."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._parts: list[bytes] = []  # parts of an unfinished line; joined once, as it may be long
        self._arrived: deque[bytes] = deque()

    def wait(self) -> bytes | None:
        """Returns the next line; None at the end."""
        while not self._arrived:
            if not self._read():
                return None
        return self._arrived.popleft()

    def available(self) -> list[bytes] | None:
        """Returns arrived lines, once the descriptor is readable; None at the end."""
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
