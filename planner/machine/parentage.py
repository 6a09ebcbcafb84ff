"""Ties processes to their parent, by the kernel: orphans are inherited, children end with it.

In: nothing, or a process number. Out: state of this process. Linux alone.
"""

from __future__ import annotations

import ctypes
import os
import signal

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def inherit_orphans() -> None:
    """Makes this process the new parent of its orphaned descendants (subreaper)."""
    _libc().prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_with_parent(parent: int) -> None:
    """Makes the kernel kill this process when `parent`, which has forked it, ends."""
    _libc().prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)
