"""The executor of this machine: a thread for each process, no more than its memory allows.

In: how many at most. Out: an Executor. Convention: a process is started only when what it needs is
free, unless it is the only one.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from planner.machine.host_limits import cpu_quota, memory_room_bytes
from planner.machine.this_host import usable
from planner.sweeps.process import end_running, reopen
from planner.units import MIB

# All processes of a job took at most 0.84 GiB with six of timm's small models on three compute
# capabilities (`python -m benchmarks.sweep`, shared pages counted once); larger ones take more.
JOB_BYTES = 1536 * MIB
_YOUNG_S = 20.0  # by then a process has taken most of what it will
_LOOK_S = 0.5

_Work = Callable[..., Any]


@contextmanager
def local_executor(jobs: int | None) -> Iterator[LocalExecutor]:
    """Yields the executor; its processes end with the context."""
    executor = LocalExecutor(jobs or most_jobs())
    reopen()
    try:
        yield executor
    finally:
        executor.shutdown(wait=False, cancel_futures=True)
        executor.close()
        end_running()


def most_jobs(available_bytes: int | None = None, processors: int | None = None) -> int:
    """Returns how many jobs this machine runs at once: by its processors and its free memory."""
    if processors is None:
        threads = len(os.sched_getaffinity(0))
        processors, _ = usable(threads, threads, cpu_quota())
    free_bytes = memory_room_bytes() if available_bytes is None else available_bytes
    by_memory = processors if free_bytes is None else free_bytes // JOB_BYTES
    return max(1, min(processors, by_memory))


class LocalExecutor(ThreadPoolExecutor):
    """Runs each call in a thread, once there is memory for another process."""

    def __init__(self, jobs: int, room: Callable[[], int | None] = memory_room_bytes) -> None:
        super().__init__(max_workers=jobs)
        self.jobs = jobs
        self._room = room
        self._begun_s: list[float] = []
        self._gate = threading.Lock()
        self._is_closed = threading.Event()

    def submit(self, fn: _Work, /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Returns the future of a call."""
        return super().submit(self._when_there_is_room, fn, *args, **kwargs)

    def close(self) -> None:
        """Lets no waiting call begin any more."""
        self._is_closed.set()

    def _when_there_is_room(self, fn: _Work, *args: Any, **kwargs: Any) -> Any:
        while (began_s := self._begun()) is None:
            if self._is_closed.wait(_LOOK_S):
                raise CancelledError
        try:
            return fn(*args, **kwargs)
        finally:
            with self._gate:
                self._begun_s.remove(began_s)

    def _begun(self) -> float | None:
        """Returns when the call began, which is now; None where it may not begin yet."""
        with self._gate:
            now_s = time.monotonic()
            young = sum(now_s - began_s < _YOUNG_S for began_s in self._begun_s)
            free_bytes = self._room()
            if self._begun_s and free_bytes is not None and free_bytes < (young + 1) * JOB_BYTES:
                return None
            self._begun_s.append(now_s)
            return now_s
