"""Finds the executor of a sweep by its name; each one has the interface of concurrent.futures.

In: "local", "dask://HOST:PORT", "ray://HOST:PORT", "ray://local" or "slurm". Out: an Executor that
is open as long as the context. Convention: a library is imported when its executor is requested.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from planner.errors import UnsupportedPlatformError, UsageError
from planner.sweeps.local import local_executor

FORMS = "local, dask://HOST:PORT, ray://HOST:PORT, ray://local, slurm, slurm://PARTITION"
_CONNECT_S = 30.0
_POLL_S = 2.0
_JOB_MINUTES = 60  # a case takes a minute or two, and a timeout of its own ends it
_JOB_BYTES = 4 << 30  # of RAM, for schedulers that want to know; see planner/sweeps/local.py
_JOB_PROCESSORS = 2


@contextmanager
def executor_of(name: str, *, jobs: int | None, folder: Path) -> Iterator[Executor]:
    """Yields the executor; `jobs` limits how many cases run at once, `folder` is for its logs.

    Raises:
        UsageError: there is no such executor, or nothing answers at its address.
        UnsupportedPlatformError: its library is not installed.
    """
    kind, separator, place = name.strip().partition("://")
    if kind == "local" and not separator:
        with local_executor(jobs) as executor:
            yield executor
    elif kind == "dask" and ":" in place:
        with _dask(place) as executor:
            yield executor
    elif kind == "ray" and place:
        with _ray(place) as executor:
            yield executor
    elif kind == "slurm":
        with _slurm(place, jobs, folder) as executor:
            yield executor
    else:
        raise UsageError(f"executor {name!r} is not one of {FORMS}")


@contextmanager
def _dask(place: str) -> Iterator[Executor]:
    try:
        import distributed
    except ImportError:
        raise _missing("dask", "distributed", "dask") from None
    try:
        client = distributed.Client(f"tcp://{place}", timeout=_CONNECT_S, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise _no_answer(f"dask://{place}", "scheduler", "dask scheduler", error) from error
    try:
        # The same text is another job where the target's file has changed.
        yield client.get_executor(pure=False)
    finally:
        with suppress(Exception):
            client.close(timeout=_CONNECT_S)


@contextmanager
def _ray(place: str) -> Iterator[Executor]:
    try:
        import ray
    except ImportError:
        raise _missing("ray", "ray", "ray") from None
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    try:
        if place == "local":
            ray.init(include_dashboard=False, **quiet)
        else:
            ray.init(address=f"ray://{place}", **quiet)
    except (OSError, RuntimeError, ValueError, TimeoutError) as error:
        raise _no_answer(f"ray://{place}", "head node", "ray start --head", error) from error
    try:
        yield RayExecutor(ray)
    finally:
        ray.shutdown()


class RayExecutor(Executor):
    """Sends each call to ray as a task of its own."""

    def __init__(self, ray: Any) -> None:
        self._ray = ray
        self._sent: list[Any] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Returns the future of a call; ray starts it when a processor is free."""
        task = self._ray.remote(num_cpus=1, max_retries=1)(fn)
        sent = task.remote(*args, **kwargs)
        self._sent.append(sent)
        future: Future[Any] = sent.future()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Cancels the calls that have not begun, where that is requested."""
        if cancel_futures:
            for sent in self._sent:
                with suppress(Exception):
                    self._ray.cancel(sent)


@contextmanager
def _slurm(partition: str, jobs: int | None, folder: Path) -> Iterator[Executor]:
    try:
        import submitit
    except ImportError:
        raise _missing("slurm", "submitit", "slurm") from None
    logs = folder / "slurm"
    try:
        executor = submitit.AutoExecutor(folder=logs, cluster="slurm")
    except RuntimeError as error:
        raise UsageError(
            f"executor slurm: {error}; run this where `sbatch` works, or choose another executor"
        ) from error
    words: dict[str, Any] = {"timeout_min": _JOB_MINUTES, "mem_gb": _JOB_BYTES >> 30}
    words["cpus_per_task"] = _JOB_PROCESSORS
    if partition:
        words["slurm_partition"] = partition
    if jobs is not None:
        words["slurm_array_parallelism"] = jobs
    executor.update_parameters(**words)
    with submitit_executor(executor) as wrapped:
        yield wrapped


@contextmanager
def submitit_executor(executor: Any) -> Iterator[Executor]:
    """Yields an Executor over one of submitit, whose jobs are no futures."""
    wrapped = SubmititExecutor(executor)
    try:
        yield wrapped
    finally:
        wrapped.shutdown(cancel_futures=True)


class SubmititExecutor(Executor):
    """Sends each call as a job of submitit, and looks for its end every few seconds."""

    def __init__(self, executor: Any) -> None:
        self._executor = executor
        self._waiting: dict[Future[Any], Any] = {}
        self._lock = threading.Lock()
        self._is_over = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Returns the future of a call."""
        job = self._executor.submit(fn, *args, **kwargs)
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()
        with self._lock:
            self._waiting[future] = job
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Stops looking; cancels the jobs that have not ended, where that is requested."""
        self._is_over.set()
        with self._lock:
            left = list(self._waiting.values()) if cancel_futures else []
        for job in left:
            with suppress(Exception):
                job.cancel()

    def _watch(self) -> None:
        while not self._is_over.wait(_POLL_S):
            with self._lock:
                jobs = list(self._waiting.items())
            for future, job in jobs:
                if job.done():
                    self._settle(future, job)

    def _settle(self, future: Future[Any], job: Any) -> None:
        with self._lock:
            del self._waiting[future]
        try:
            future.set_result(job.result())
        except Exception as error:
            future.set_exception(error)


def _missing(executor: str, library: str, extra: str) -> UnsupportedPlatformError:
    return UnsupportedPlatformError(
        f"executor {executor} needs {library}, which is not installed: "
        f"pip install 'vram-planner[{extra}]'"
    )


def _no_answer(name: str, what: str, command: str, error: BaseException) -> UsageError:
    detail = str(error).strip().splitlines()
    return UsageError(
        f"executor {name}: no {what} answers there{f' ({detail[0]})' if detail else ''}; start one "
        f"with `{command}`, or leave --executor out to use this machine"
    )
