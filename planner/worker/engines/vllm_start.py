"""Starts vLLM in this process on the emulated card, up to where it would serve.

In: an EngineStart, the first line of stdin. Out: vLLM's own lines about memory, on stdout.
Convention: the process ends with stdin, so nothing is left when planner is gone.
"""

from __future__ import annotations

import os
import signal
import sys
import threading

from planner.wire.engine_start import start_of
from planner.worker.engines import emulation


def main() -> int:
    """Starts the engine; returns when it stands."""
    start = start_of(sys.stdin.readline())
    threading.Thread(target=_end_with_planner, daemon=True).start()
    emulation.load_card(start.libraries, start.profile, start.driver_folder)
    import torch  # noqa: F401  # with the emulated device, before vllm asks for it

    emulation.settle(start.profile)
    emulation.count_one_card()
    import vllm  # type: ignore[import-not-found,unused-ignore] # in the environment of the user

    vllm.LLM(**start.arguments)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(
        0
    )  # an engine that stands has threads and groups to end, which may wait for each other


def _end_with_planner() -> None:
    sys.stdin.read()
    os.killpg(os.getpgid(0), signal.SIGKILL)
