"""Prepares this process as a command line: its standard streams, and signals that end it.

In: nothing. Out: state of this process. Only the command line does this; a program that calls
planner.estimate() keeps its own streams and handlers.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

# by name: Windows, where `planner --help` works too, has no SIGHUP
_ENDING = ("SIGINT", "SIGTERM", "SIGHUP")


def open_missing_streams() -> None:
    """Opens /dev/null for each standard stream that the caller closed.

    Otherwise the next pipe would get the number of that stream, and printed text would go into
    it.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            # the lowest free number, which is the stream's own because the lower ones are open
            descriptor = os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, os.fdopen(descriptor, mode))


def end_in_order() -> None:
    """Makes Ctrl-C, SIGTERM and SIGHUP unwind the stack, which ends the child.

    A signal that the caller of this process has set to be ignored (nohup) stays ignored.
    """
    for name in _ENDING:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _end)


def _end(number: int, frame: FrameType | None) -> None:
    # A second signal ends this process at once; the child notices that its parent is gone.
    signal.signal(number, signal.SIG_DFL)
    sys.exit(128 + number)
