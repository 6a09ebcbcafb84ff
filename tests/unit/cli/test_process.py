"""Signals and streams of the command line, in processes of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

_WAITS = """
import sys, time
from planner.cli.process import end_in_order
end_in_order()
try:
    print("ready", flush=True)
    time.sleep(60)
finally:
    print("cleaned up", flush=True)
"""


def started(code: str, ignored: signal.Signals | None = None) -> subprocess.Popen[str]:
    def ignore() -> None:
        if ignored is not None:
            signal.signal(ignored, signal.SIG_IGN)

    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=ignore,
    )


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_cleans_up_and_says_nothing(number: signal.Signals, code: int) -> None:
    with started(_WAITS) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (code, "cleaned up\n", "")


def test_a_second_signal_ends_a_clean_up_that_hangs() -> None:
    code = _WAITS.replace(
        'print("cleaned up", flush=True)', 'print("hangs", flush=True); time.sleep(60)'
    )
    with started(code) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == "hangs\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == -signal.SIGTERM


def test_a_signal_that_the_caller_ignores_stays_ignored() -> None:
    with started(_WAITS, ignored=signal.SIGHUP) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
    assert process.returncode == 143


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)], ids=str)
def test_a_closed_stream_is_not_taken_by_the_next_file(closed: tuple[int, ...]) -> None:
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)
    code = (
        "import os, sys\n"
        "from planner.cli.process import open_missing_streams\n"
        "open_missing_streams()\n"
        "lowest = min(os.pipe())\n"
        "print('to nobody')\n"
        "print('to nobody', file=sys.stderr)\n"
        f"os.write({writing}, str(lowest).encode())\n"
    )

    def close() -> None:
        for descriptor in closed:
            os.close(descriptor)

    subprocess.run(
        [sys.executable, "-c", code],
        pass_fds=(writing,),
        preexec_fn=close,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    os.close(writing)
    with os.fdopen(reading) as pipe:
        assert int(pipe.read()) > 2
