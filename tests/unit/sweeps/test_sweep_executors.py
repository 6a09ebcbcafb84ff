"""Executors: room on this machine, libraries that are missing, schedulers that are not there."""

from __future__ import annotations

import sys
import threading
import time
from concurrent.futures import CancelledError, Executor, Future
from pathlib import Path
from typing import Any

import pytest

from planner.errors import UnsupportedPlatformError, UsageError
from planner.sweeps import local
from planner.sweeps.executors import SubmititExecutor, executor_of
from planner.sweeps.local import JOB_BYTES, LocalExecutor, most_jobs
from planner.units import GIB


def test_no_more_jobs_than_processors_and_memory_allow() -> None:
    assert most_jobs(available_bytes=100 * GIB, processors=4) == 4
    assert most_jobs(available_bytes=3 * JOB_BYTES - 1, processors=4) == 2
    assert most_jobs(available_bytes=0, processors=4) == 1
    assert most_jobs() >= 1


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("cluster", "'cluster' is not one of local, dask://HOST:PORT"),
        ("dask", "'dask' is not one of"),
        ("dask://host", "is not one of"),
        ("local://8", "is not one of"),
        ("", "is not one of"),
    ],
)
def test_an_executor_that_there_is_not(name: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=says), executor_of(name, jobs=1, folder=tmp_path):
        pass


@pytest.mark.parametrize(
    ("name", "library", "extra"),
    [
        ("dask://127.0.0.1:1", "distributed", "dask"),
        ("ray://local", "ray", "ray"),
        ("slurm", "submitit", "slurm"),
    ],
)
def test_a_library_that_is_missing(
    name: str, library: str, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    says = rf"needs {library}, .*: pip install 'vram-planner\[{extra}\]'"
    with (
        pytest.raises(UnsupportedPlatformError, match=says),
        executor_of(name, jobs=1, folder=tmp_path),
    ):
        pass


def test_a_call_waits_until_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "_LOOK_S", 0.01)
    free = [JOB_BYTES]
    running, most = [0], [0]
    lock, go = threading.Lock(), threading.Event()

    def call() -> None:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        go.wait(10)
        with lock:
            running[0] -= 1

    with LocalExecutor(4, room=lambda: free[0]) as executor:
        futures = [executor.submit(call) for _ in range(4)]
        time.sleep(0.2)
        assert most == [1]  # there is always one, however little is free
        free[0] = 3 * JOB_BYTES  # room for a second, and what the first may still take
        time.sleep(0.2)
        assert most == [3]
        go.set()
        for future in futures:
            future.result(timeout=10)


def test_a_waiting_call_ends_with_the_executor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "_LOOK_S", 0.01)
    go = threading.Event()
    executor = LocalExecutor(2, room=lambda: 0)
    first, second = executor.submit(go.wait, 10), executor.submit(go.wait, 10)
    time.sleep(0.1)
    executor.close()
    with pytest.raises(CancelledError):
        second.result(timeout=10)
    go.set()
    assert first.result(timeout=10)
    executor.shutdown()


class _Job:
    """A job of submitit: done when it was looked at twice."""

    def __init__(self, result: Any) -> None:
        self._result, self._looks = result, 0
        self.is_cancelled = False

    def done(self) -> bool:
        self._looks += 1
        return self._looks > 1

    def result(self) -> Any:
        if isinstance(self._result, Exception):
            raise self._result
        return self._result

    def cancel(self) -> None:
        self.is_cancelled = True


class _Submits:
    def submit(self, fn: Any, *args: Any) -> _Job:
        return _Job(fn(*args))


def test_jobs_of_submitit_become_futures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("planner.sweeps.executors._POLL_S", 0.01)
    executor: Executor = SubmititExecutor(_Submits())
    good: Future[int] = executor.submit(abs, -3)
    bad: Future[Any] = executor.submit(lambda: ValueError("no"))
    assert good.result(timeout=10) == 3
    with pytest.raises(ValueError, match="no"):
        bad.result(timeout=10)
    executor.shutdown(cancel_futures=True)
