"""Describes in words how a job of the child ended.

In: the end that the child reports. Out: text for an error or a warning.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import planner.errors
from planner.wire.protocol import CLOSED_PIPE_CODE, JobEnded

# The dynamic loader ends a process with this code if a function is missing at its first call
# (fatal_error of glibc's elf/dl-catch.c: "symbol lookup error").
_UNDEFINED_SYMBOL = 127
_STACK_LINES = 24
_UNDEFINED_HINT = (
    "; if a compiled library called a function that is not there, the line with "
    '"symbol lookup error" above names both'
)

_CLOSED_PIPE = "the model's code closed or broke a descriptor that it did not open"


def signal_name(number: int) -> str:
    """Returns the name of a signal: SIGKILL for 9."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def ending(code: int, doing: str) -> str:
    """Describes how the whole child ended, from its exit code or, below 0, its signal."""
    if code == CLOSED_PIPE_CODE:
        return f"the child process ended {doing}: {_CLOSED_PIPE}"
    how = f"killed by {signal_name(-code)}{hint(-code)}" if code < 0 else f"exit code {code}"
    return f"the child process ended {doing}: {how}"


def death(ended: JobEnded, what: str) -> str:
    """Describes how `what` ended without a result."""
    doing = f"{what} ended before it had a result"
    if ended.signal is None:
        code = ended.exit_code
        if code == CLOSED_PIPE_CODE:
            return f"{what} could not give its result: {_CLOSED_PIPE}"
        why = _UNDEFINED_HINT if code == _UNDEFINED_SYMBOL else ""
        return f"{doing}: the model's code left the process with exit code {code}{why}"
    return f"{doing}: killed by {signal_name(ended.signal)}{hint(ended.signal)}"


def hint(number: int) -> str:
    """Returns the usual cause of a signal, as the end of a sentence; "" if there is none."""
    if number == signal.SIGKILL:
        return "; the usual cause is that the host ran out of RAM (dmesg tells)"
    if number in (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL):
        return "; native code that the model calls crashed on the emulated device"
    return ""


def late_crash(ended: JobEnded) -> str | None:
    """Returns a warning if the process of a run crashed after it had delivered, else None."""
    if ended.signal is None and ended.exit_code == 0:
        return None
    how = signal_name(ended.signal) if ended.signal else f"exit code {ended.exit_code}"
    return f"a run ended with {how} after it had delivered its result"


def told_stack(report: str) -> str:
    """Returns the innermost frames of faulthandler's report that are not planner's, for an error.

    Several processes report. Each of their threads has a part that begins with a head line. A
    stack that two threads share appears once.
    """
    own = f'"{Path(planner.errors.__file__).resolve().parent}{os.sep}'
    stacks: dict[tuple[str, ...], str] = {}  # frames, and the head of the first such stack
    head, frames = "", []
    for line in [*report.splitlines(), ""]:
        if line.startswith("  "):
            if own not in line:
                frames.append(line.rstrip())
            continue
        if frames:
            stacks.setdefault(tuple(frames), head)
        head, frames = line.strip(), []
    told = [line for frames, head in stacks.items() for line in (head, *frames) if line]
    return ":\n" + "\n".join(told[:_STACK_LINES]) if told else ""
