"""The process around a job: nothing of a job outlives it, however the server ends.

In: the module and the words of a command, and a pipe as stdin that the server holds open. Out: the
command in a second process, its output and its exit code. Convention: when the pipe is closed, the
command gets SIGTERM, and a little later all that it has started is killed.
"""

from __future__ import annotations

import os
import resource
import select
import signal
import sys
import time
from importlib import import_module
from types import FrameType

from planner.machine.parentage import end_with_parent, inherit_orphans
from planner.machine.processes import end_family, kill, reap_all

_GRACE_S = 3.0  # for the command to end its own child in order
_LOOK_AT_PARENT_MS = 500
_CANCELLED_CODE = 128 + signal.SIGTERM


def main() -> int:
    """Runs `MODULE WORDS...`; returns in the command's process alone."""
    module, *words = sys.argv[1:]
    server, watcher = os.getppid(), os.getpid()
    inherit_orphans()
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    wake_out, wake_in = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(wake_in, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _ignore)  # the wake-up descriptor needs a handler
    command = os.fork()
    if command == 0:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.close(wake_in)
        os.close(wake_out)
        end_with_parent(watcher)
        _without_stdin()
        sys.argv = ["planner", *words]
        import_module(module).main()
        return 0
    status = _watch(command, server, wake_out)
    end_family()
    os._exit(_CANCELLED_CODE if status is None else _code(status))


def _watch(command: int, server: int, wake: int) -> int | None:
    """Returns the wait status of the command; None if it was not to go on."""
    poll = select.poll()
    poll.register(0, select.POLLIN)  # nothing is ever written: it is readable when it is closed
    poll.register(wake, select.POLLIN)
    end_s: float | None = None
    while True:
        left_ms = _LOOK_AT_PARENT_MS
        if end_s is not None:
            left_ms = min(left_ms, max(0, int((end_s - time.monotonic()) * 1000)))
        ready = {descriptor for descriptor, _ in poll.poll(left_ms)}
        if wake in ready:
            os.read(wake, 4096)
        ended = reap_all()
        if command in ended:
            return None if end_s is not None else ended[command]
        if end_s is None and (0 in ready or os.getppid() != server):
            poll.unregister(0)
            kill(command, signal.SIGTERM)
            end_s = time.monotonic() + _GRACE_S
        elif end_s is not None and time.monotonic() >= end_s:
            return None


def _without_stdin() -> None:
    """Connects stdin to /dev/null: the pipe is that of the supervisor."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)


def _code(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _ignore(number: int, frame: FrameType | None) -> None:
    """Does nothing: the signal wakes the poll."""
