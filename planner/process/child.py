"""Starts a child process, sends it jobs, and ends it and everything that it started.

In: a LoadRequest, then jobs. Out: their answers, or an error that says how the child ended.
One child imports torch and the user's code once and forks a fresh process for each job. So a job
begins in a clean state and costs no second import. Several threads may send jobs.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Generic, TypeVar, cast

import planner.errors
from planner.errors import ChildError, ChildTimeoutError, ModelError, PlannerError
from planner.machine.processes import PATIENCE_S, end_session, kill
from planner.process.command import child_command
from planner.process.environment import child_environment
from planner.process.exit_reasons import death, ending, late_crash
from planner.process.run_files import RunFiles
from planner.wire.jobs import AnswerT, Job, JobOf, NeedsValues
from planner.wire.protocol import (
    ChildFailure,
    JobEnded,
    JobRequest,
    Loaded,
    LoadRequest,
    decode,
    encode,
)
from planner.wire.reads import Reads

_NOTE_S = 1.0  # time between two looks of a waiting thread at the notes of the run
_TOLD_S = 5.0  # least time between two progress lines about the values that the run reads
_SLOW_S = 20.0  # progress of a slow run is reported after this time, then each time it doubles
_END_WAIT_S = 3.0
_SUPERVISOR_WAIT_S = PATIENCE_S + 2  # it ends all that the child has started, then itself
_LOADING = "importing torch and the model's code"
_Awaited = TypeVar("_Awaited")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered(Generic[AnswerT]):
    """The answer of a job. `warning` is set if its process crashed after it had delivered.

    `reads` are those of the job, if the child was to report them.
    """

    answer: AnswerT | NeedsValues
    warning: str | None = None
    reads: Reads | None = None


class Child:
    """A running child that has loaded one target. Use as a context manager."""

    def __init__(
        self,
        request: LoadRequest,
        *,
        timeout_s: float,
        environment: Mapping[str, str] | None = None,
        on_progress: Callable[[str], None] | None = None,
    ) -> None:
        self._timeout_s = timeout_s
        self._on_progress = on_progress or (lambda _: None)
        self._lock = threading.Lock()
        self._send_lock = threading.Lock()  # a second lock: a full pipe must not block answers
        self._pending: dict[int, Future[JobEnded]] = {}
        self._number = 0
        self._broken: ChildError | None = None
        self._loaded: Future[Loaded] = Future()
        self._files = RunFiles()
        try:
            self._start(request, environment or {})
        except OSError as error:
            self._files.close()
            raise ChildError(f"the child process cannot be started: {error}") from error

    def _start(self, request: LoadRequest, environment: Mapping[str, str]) -> None:
        requests_out, requests_in = os.pipe()
        answers_out, answers_in = os.pipe()
        passed = (requests_out, answers_in, *self._files.descriptors)
        try:
            self._process = subprocess.Popen(
                child_command(passed),
                stdin=subprocess.DEVNULL,
                # Output of the user's model goes to stderr: stdout holds the report alone.
                stdout=2,
                env=child_environment(environment),
                pass_fds=passed,
                start_new_session=True,
            )
        except OSError:
            os.close(requests_in)
            os.close(answers_out)
            raise
        finally:
            os.close(requests_out)
            os.close(answers_in)
        self._requests = os.fdopen(requests_in, "wb", buffering=0)
        self._answers = os.fdopen(answers_out, "rb")
        self._reader = threading.Thread(target=self._read, name="planner-child", daemon=True)
        self._reader.start()
        self._send(encode(request))

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the child and everything it started; returns when they are gone."""
        self._requests.close()  # the child's supervisor sees this and ends all
        if self._process.poll() is None:
            kill(self._process.pid, signal.SIGCONT)  # the user's code may have stopped it
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=_SUPERVISOR_WAIT_S)
        end_session(self._process)
        self._reader.join(timeout=_END_WAIT_S)
        if not self._reader.is_alive():
            self._answers.close()
        self._files.close()

    def wait_loaded(self) -> Loaded:
        """Returns the child's versions, and whether it can serve one run only.

        Raises:
            PlannerError: the child raised it while it loaded the user's code.
            ChildError: it was killed; ChildTimeoutError: it took too long.
        """
        loaded = self._wait(self._loaded, _LOADING)
        if loaded.failure is not None:
            raise _raised_again(loaded.failure)
        return loaded

    def ask(self, job: JobOf[AnswerT]) -> Answered[AnswerT]:
        """Sends the job to the child and waits for the answer.

        Raises:
            PlannerError: the child raised it because the job cannot be done.
            ChildError: it was killed before it delivered.
            ChildTimeoutError: it took too long. Other jobs go on, unless `job.ends_all` is set.
        """
        waiting: Future[JobEnded] = Future()
        with self._lock:
            if self._broken is not None:
                raise self._broken
            self._number += 1
            number = self._number
            self._pending[number] = waiting
        with self._send_lock:
            self._send(encode(JobRequest(number=number, job=cast("Job", job))))
        ended = self._wait(waiting, job.doing, ends_all=job.ends_all)
        if isinstance(ended.delivered, ChildFailure):
            raise _raised_again(ended.delivered)
        if not isinstance(ended.delivered, (job.answer, NeedsValues)):
            raise ChildError(death(ended, job.name))
        return Answered(answer=ended.delivered, warning=late_crash(ended), reads=ended.reads)

    def _send(self, line: bytes) -> None:
        try:
            while line:
                line = line[self._requests.write(line) :]
        except (BrokenPipeError, ValueError):
            pass  # it has ended or was closed: the reader reports this to all waiting threads

    def _wait(self, future: Future[_Awaited], doing: str, *, ends_all: bool = True) -> _Awaited:
        began_s = told_s = time.monotonic()
        deadline_s = began_s + self._timeout_s
        told = before = self._files.reading()
        slow_s = _SLOW_S
        try:
            while True:
                left_s = deadline_s - time.monotonic()
                try:
                    return future.result(timeout=max(0.0, min(_NOTE_S, left_s)))
                except FutureTimeoutError:
                    if left_s <= _NOTE_S:
                        raise
                note = self._files.reading()
                now_s = time.monotonic()
                if note is not None and note != told and now_s - told_s >= _TOLD_S:
                    told, told_s = note, now_s
                    self._on_progress(f"{doing}: {note.said}")
                elif now_s - began_s >= slow_s:
                    slow_s *= 2
                    far = self._files.how_far()
                    self._on_progress(
                        f"{doing}: still at it after {now_s - began_s:.0f} s{': ' * bool(far)}{far}"
                    )
        except FutureTimeoutError:
            far = self._files.how_far()
            hint = f"{far}{'; ' * bool(far)}allow more with --timeout, or look where it waits"
            note = self._files.reading()
            if note is not None and note != before:
                hint = (
                    f"{note.said}. A loop that ends by a value which only a card can compute may "
                    "never end here: bound it, or allow more with --timeout"
                )
            error = ChildTimeoutError(
                f"{doing} did not end within {self._timeout_s:g} s{' and was stopped' * ends_all}; "
                f"{hint}{self._files.stack(self._process.pid)}"
            )
            if not ends_all:
                raise error from None
            self._fail(error)  # first: after close() the other threads would get a vaguer error
            self.close()
            raise self._broken or error from None  # every waiting thread raises the same error

    def _read(self) -> None:
        try:
            for line in self._answers:
                self._take(cast("Loaded | JobEnded", decode(line, (Loaded, JobEnded))))
            self._fail(ChildError(self._ending()))
        except ChildError as error:
            self._fail(error)
        except (OSError, ValueError):  # closed by us
            self._fail(ChildError("the child process was closed"))
        except Exception as error:  # waiting threads must get an error
            self._fail(ChildError(f"the answers of the child process cannot be taken: {error!r}"))

    def _take(self, message: Loaded | JobEnded) -> None:
        """Hands an answer to the thread that waits for it.

        Raises:
            ChildError: the child's own code cannot have sent this message.
        """
        if isinstance(message, JobEnded):
            with self._lock:
                answer = self._pending.pop(message.number, None)
            if answer is not None:
                answer.set_result(message)
        elif self._loaded.done():
            raise ChildError(
                "the child process said twice that it has loaded the model: the model's code has "
                "written to a descriptor that it did not open"
            )
        else:
            self._loaded.set_result(message)

    def _ending(self) -> str:
        code = self._process.wait()
        doing = "before the run had a result" if self._loaded.done() else f"while {_LOADING}"
        return ending(code, doing)

    def _fail(self, error: ChildError) -> None:
        with self._lock:
            if self._broken is None:
                self._broken = error
            waiting, self._pending = list(self._pending.values()), {}
        for answer in waiting:
            answer.set_exception(self._broken)
        if not self._loaded.done():
            self._loaded.set_exception(self._broken)


def _raised_again(failure: ChildFailure) -> PlannerError:
    kind = getattr(planner.errors, failure.error, None)
    if isinstance(kind, type) and issubclass(kind, ModelError):
        return kind(failure.message, failure.frames)
    if isinstance(kind, type) and issubclass(kind, PlannerError):
        return kind(failure.message)
    return ChildError(f"{failure.error}: {failure.message}")
