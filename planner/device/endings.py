"""What a run was doing and how it ended, in words.

In: the request, and the end that the child reports. Out: text for an error or a warning.
"""

from __future__ import annotations

import signal

from planner.protocol import DataRequest, InspectRequest, RunEnded, RunRequest

# The dynamic loader ends a process so when a function that is called for the first time is not
# there (fatal_error of glibc's elf/dl-catch.c: "symbol lookup error").
_UNDEFINED_SYMBOL = 127
_UNDEFINED_HINT = (
    "; if a compiled library called a function that is not there, the line with "
    '"symbol lookup error" above names both'
)


def signal_name(number: int) -> str:
    """SIGKILL for 9."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def doing_of(request: RunRequest | InspectRequest | DataRequest) -> str:
    """What the child does for the request."""
    if isinstance(request, DataRequest):
        return "timing the data set"
    verb = "counting" if isinstance(request, InspectRequest) else "running"
    return f"{verb} the step with batch {request.config.batch_size}"


def death(ended: RunEnded, what: str) -> str:
    """How `what` ended without a result."""
    doing = f"{what} ended before it had a result"
    if ended.signal is None:
        code = ended.exit_code
        why = _UNDEFINED_HINT if code == _UNDEFINED_SYMBOL else ""
        return f"{doing}: the model's code left the process with exit code {code}{why}"
    return f"{doing}: killed by {signal_name(ended.signal)}{hint(ended.signal)}"


def hint(number: int) -> str:
    """The usual cause of a signal, to be appended; "" where there is none."""
    if number == signal.SIGKILL:
        return "; the usual cause is that the host ran out of RAM (dmesg tells)"
    if number in (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL):
        return "; native code that the model calls crashed on the emulated device"
    return ""


def late_crash(ended: RunEnded) -> str | None:
    """A warning if the process of a run crashed after it had delivered; else None."""
    if ended.signal is None and ended.exit_code == 0:
        return None
    how = signal_name(ended.signal) if ended.signal else f"exit code {ended.exit_code}"
    return f"a run ended with {how} after it had delivered its result"
