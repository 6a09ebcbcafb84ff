"""Supervises the process that runs the user's code: nothing may outlive planner.

In: the pipe of requests, whose other end planner holds. Out: a second process, in which the user's
code runs; this one waits. When planner is gone (however it ended) or that process has ended, all
that the user's code has started is killed, daemons in sessions of their own included.
"""

from __future__ import annotations

import os
import resource
import select
import signal
from types import FrameType

from planner.machine.parentage import end_with_parent, inherit_orphans
from planner.machine.processes import end_family, reap_all
from planner.worker.serve import compiler_folder

# The pipe shows at once that planner is gone, unless a fork of planner's process still holds it.
_LOOK_AT_PARENT_MS = 500


def run_supervised(requests: int, answers: int, compiled: str | None) -> None:
    """Returns in the serving process; never in the supervisor, which stays to watch it.

    `compiled` is the folder of the compiler; it is removed at the end.
    """
    planner = os.getppid()
    inherit_orphans()
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    wake_out, wake_in = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(wake_in, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, _ignore)  # the wake-up descriptor needs a handler
    watcher = os.getpid()
    server = os.fork()
    if server == 0:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.close(wake_in)
        os.close(wake_out)
        end_with_parent(watcher)
        return
    os.close(answers)
    # The signal requests stacks of the others; this process has none to report.
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    status = _watch(server, planner, requests, wake_out)
    end_family()
    compiler_folder.removed(compiled)
    _exit_like(status)


def _watch(server: int, planner: int, requests: int, wake: int) -> int:
    """Returns the wait status of the server; 0 if planner is gone first."""
    poll = select.poll()
    poll.register(requests, 0)  # the server reads it; only its closing is watched here
    poll.register(wake, select.POLLIN)
    while True:
        ready = {descriptor for descriptor, _ in poll.poll(_LOOK_AT_PARENT_MS)}
        if wake in ready:
            os.read(wake, 4096)
        ended = reap_all()
        if server in ended:
            return ended[server]
        if requests in ready or os.getppid() != planner:
            return 0


def _exit_like(status: int) -> None:
    """Ends in the same way as the server, so that planner sees its status."""
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        if -code != signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


def _ignore(number: int, frame: FrameType | None) -> None:
    """Does nothing: the signal wakes the poll."""
