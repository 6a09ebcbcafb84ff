"""The reason why a process that has imported the user's code may serve only one run.

In: this process, after the import. Out: the reason, for the report; None where a forked process
starts as clean as this one was. torch is imported by then.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress

from planner.worker.engines import alloc_conf


def why_single() -> str | None:
    """Returns the reason why a fork after the import would not be clean; None if it would."""
    import torch

    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call] # untyped in torch
        return "the model's code uses the card while it is imported"
    if _holds_a_card():
        return "the model's code opens the card while it is imported"
    lost = _lost_by_a_fork()
    if lost is not None:
        return f"the model's code {lost} while it is imported"
    if threading.active_count() > 1:
        return "the model's code starts threads while it is imported"
    return None


def _holds_a_card() -> bool:
    """Returns whether torch or another library has started CUDA on a physical card."""
    held = []
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            held.append(os.readlink(f"/proc/self/fd/{name}"))
    return any(place.startswith("/dev/nvidia") for place in held)


def _lost_by_a_fork() -> str | None:
    """Returns the reason why a run in a forked process would differ, found by a trial fork."""
    import torch

    pid = os.fork()
    if pid == 0:
        refused = torch.cuda._is_in_bad_fork()
        os._exit(1 if refused else 2 if not alloc_conf.is_still_read() else 0)
    status = os.waitpid(pid, 0)[1]
    if status == 0:
        return None
    set_up = os.waitstatus_to_exitcode(status) == 2
    return "sets the allocator up" if set_up else "asks for the card"
