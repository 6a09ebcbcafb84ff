"""The jobs of a server: a queue with a limit, the states of a job, and who is told of changes.

In: JobRequests. Out: Jobs, and messages to each subscriber. Convention: at most `running` processes
at once, `waiting` jobs behind them, `kept` jobs that have ended; all of it in one event loop.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from planner.errors import PlannerError
from planner.ui.kept_results import KeptResults
from planner.ui.runs import Run

DONE_CODES = (0, 3)  # of planner estimate: it fits, it does not fit
_LINES_KEPT = 100
_MESSAGES_HELD = 1000  # of a browser that does not read


class QueueFullError(PlannerError):
    """There are as many jobs as the limits allow."""


class JobState(str, Enum):
    """How far a job is."""

    WAITING = "waiting"
    """Others run first."""
    RUNNING = "running"
    """Its process runs."""
    DONE = "done"
    """There is a result, also where the step does not fit."""
    FAILED = "failed"
    """There is an error."""
    CANCELLED = "cancelled"
    """It was cancelled, or the server has ended."""

    @property
    def is_over(self) -> bool:
        """Returns whether it changes no more."""
        return self not in (JobState.WAITING, JobState.RUNNING)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRequest:
    """A job to run: the target, and its options as words of the command line."""

    target: str
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How many jobs run at once, how many wait, and how many that have ended are kept."""

    running: int = 1
    waiting: int = 4
    kept: int = 50


@dataclass(slots=True, kw_only=True)
class Job:
    """A job that lives: its request, its state, and what is known of it so far.

    `verdict` are the lines of its result, `error` the words of a failure; times are seconds since
    the epoch.
    """

    id: str
    request: JobRequest
    state: JobState = JobState.WAITING
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=_LINES_KEPT))
    verdict: tuple[str, ...] = ()
    error: str = ""
    asked_s: float = 0.0
    began_s: float | None = None
    ended_s: float | None = None
    fits: bool | None = None
    run: Run | None = None
    is_cancelled: bool = False
    over: asyncio.Event = field(default_factory=asyncio.Event)

    def to_dict(self) -> dict[str, Any]:
        """Returns what a browser is told of it; times in seconds."""
        return {
            "id": self.id,
            "target": self.request.target,
            "options": list(self.request.options),
            "state": self.state.value,
            "lines": list(self.lines),
            "verdict": list(self.verdict),
            "error": self.error,
            "fits": self.fits,
            "asked_s": self.asked_s,
            "took_s": _difference(self.ended_s, self.began_s),
        }


class JobQueue:
    """The jobs, newest last."""

    def __init__(self, *, command: str, folder: Path, results: KeptResults, limits: Limits) -> None:
        self._command = command
        self._folder = folder
        self._results = results
        self._limits = limits
        self._jobs: dict[str, Job] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._subscribers: set[asyncio.Queue[dict[str, Any]]] = set()
        self._is_closed = False

    def jobs(self) -> list[Job]:
        """Returns all jobs, oldest first."""
        return list(self._jobs.values())

    def find(self, name: str) -> Job | None:
        """Returns the job with that id, or None."""
        return self._jobs.get(name)

    def add(self, request: JobRequest) -> Job:
        """Starts a job, or lets it wait; returns it.

        Raises:
            QueueFullError: as many run and wait as may.
        """
        if self._is_closed:
            raise QueueFullError("the server is ending")
        running, waiting = self._in_state(JobState.RUNNING), self._in_state(JobState.WAITING)
        if len(running) + len(waiting) >= self._limits.running + self._limits.waiting:
            raise QueueFullError(
                f"{len(running)} of at most {self._limits.running} run and {len(waiting)} of at "
                f"most {self._limits.waiting} wait: cancel one, or ask again when one has ended"
            )
        job = Job(id=secrets.token_hex(8), request=request, asked_s=time.time())
        self._jobs[job.id] = job
        self._tell(job)
        self._start_waiting()
        return job

    async def cancel(self, job: Job) -> None:
        """Ends the job and all that it has started; returns when it is gone."""
        if job.state.is_over:
            return
        job.is_cancelled = True
        if job.state is JobState.WAITING:
            self._over(job, JobState.CANCELLED)
        elif job.run is not None:
            await job.run.end()
        await job.over.wait()

    def remove(self, job: Job) -> None:
        """Forgets a job that is over, with its result."""
        self._jobs.pop(job.id, None)
        self._results.remove(job.id)
        self._publish({"kind": "removed", "id": job.id})

    async def close(self) -> None:
        """Cancels all jobs, and ends the streams of all subscribers."""
        self._is_closed = True
        await asyncio.gather(*(self.cancel(job) for job in self.jobs()))
        if self._tasks:
            await asyncio.wait(set(self._tasks))
        self._publish({"kind": "closed"})

    @contextmanager
    def subscribed(self) -> Iterator[asyncio.Queue[dict[str, Any]]]:
        """Yields a queue of messages; the first one has all jobs."""
        queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue(_MESSAGES_HELD)
        queue.put_nowait(self._all())
        self._subscribers.add(queue)
        try:
            yield queue
        finally:
            self._subscribers.discard(queue)

    def _in_state(self, state: JobState) -> list[Job]:
        return [job for job in self._jobs.values() if job.state is state]

    def _start_waiting(self) -> None:
        free = self._limits.running - len(self._in_state(JobState.RUNNING))
        for job in self._in_state(JobState.WAITING)[: max(0, free)]:
            job.state = JobState.RUNNING
            job.began_s = time.time()
            self._tell(job)
            task = asyncio.get_running_loop().create_task(self._run(job))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _run(self, job: Job) -> None:
        try:
            state = await self._answered(job)
        except (OSError, PlannerError) as error:
            job.error, state = str(error), JobState.FAILED
        except Exception as error:  # whatever it was, the next job must start
            job.error, state = f"{type(error).__name__}: {error}", JobState.FAILED
        self._over(job, state)

    async def _answered(self, job: Job) -> JobState:
        """Runs the process of the job to its end; returns its last state."""
        job.run = await Run.started(self._command, self._words(job), folder=self._folder)
        if job.is_cancelled:  # while it was being started
            await job.run.end()
        ended = await job.run.ended(lambda line: self._line(job, line))
        if job.is_cancelled:
            return JobState.CANCELLED
        if ended.code not in DONE_CODES:
            job.error = ended.error
            return JobState.FAILED
        job.fits = ended.code == 0
        job.verdict = tuple(await asyncio.to_thread(self._results.lines, job.id))
        return JobState.DONE

    def _words(self, job: Job) -> Sequence[str]:
        place = self._results.place(job.id)
        return ["estimate", job.request.target, *job.request.options, f"--save={place}"]

    def _over(self, job: Job, state: JobState) -> None:
        job.state = state
        job.ended_s = time.time()
        job.run = None
        job.over.set()
        if state is not JobState.DONE:
            self._results.remove(job.id)
        self._tell(job)
        over = [one for one in self.jobs() if one.state.is_over]
        for old in over[: max(0, len(over) - self._limits.kept)]:
            self.remove(old)
        if not self._is_closed:
            self._start_waiting()

    def _line(self, job: Job, text: str) -> None:
        job.lines.append(text)
        self._publish({"kind": "line", "id": job.id, "text": text})

    def _tell(self, job: Job) -> None:
        self._publish({"kind": "job", "job": job.to_dict()})

    def _all(self) -> dict[str, Any]:
        return {"kind": "all", "jobs": [job.to_dict() for job in self.jobs()]}

    def _publish(self, message: dict[str, Any]) -> None:
        for queue in self._subscribers:
            try:
                queue.put_nowait(message)
            except asyncio.QueueFull:  # it gets a whole picture in place of what it has missed
                with suppress(asyncio.QueueEmpty):
                    while True:
                        queue.get_nowait()
                queue.put_nowait(self._all())


def _difference(later_s: float | None, earlier_s: float | None) -> float | None:
    return None if later_s is None or earlier_s is None else later_s - earlier_s
