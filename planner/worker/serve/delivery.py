"""The delivery of a job to the parent: its answer, or its failure, in a form that can be sent.

In: an answer, an exception, the wait status of the job's process. Out: records of the protocol,
with texts that a terminal and JSON accept.
"""

from __future__ import annotations

import os
from dataclasses import replace

from planner.errors import ModelError, PlannerError
from planner.wire.jobs import Answer, RunAnswer
from planner.wire.protocol import CLOSED_PIPE_CODE, ChildFailure, Delivered, JobEnded
from planner.wire.reads import Reads
from planner.wire.texts import sendable
from planner.wire.trace import StepTrace
from planner.worker.serve.pipes import write


def failure_of(error: BaseException) -> ChildFailure:
    """Returns the failure of `error`, if planner raised it or only the user's code can raise it.

    Raises:
        Exception: `error` itself, where it is neither: a fault of planner.
    """
    if isinstance(error, PlannerError):
        return _failure(error)
    if isinstance(error, Exception):
        raise error
    from planner.worker.target.frames import describe, user_frames

    # KeyboardInterrupt, GeneratorExit, a class of the user's own
    return _failure(ModelError(f"the model's code raised {describe(error)}", user_frames(error)))


def printable(answer: Answer) -> Answer:
    """Returns the answer with texts that a terminal and JSON accept."""
    if isinstance(answer, RunAnswer):
        return replace(answer, trace=_told(answer.trace))
    return answer


def send(pipe: int, line: bytes) -> int:
    """Sends the answer of a run; returns the exit code that says whether it could."""
    try:
        write(pipe, line)
    except OSError:
        return CLOSED_PIPE_CODE
    return 0


def ended(
    number: int, delivered: Delivered | None, status: int, reads: Reads | None = None
) -> JobEnded:
    """Returns the end of job `number`, from the wait status of its process."""
    code = os.waitstatus_to_exitcode(status)
    return JobEnded(
        number=number,
        delivered=delivered,
        exit_code=code if code >= 0 else None,
        signal=-code if code < 0 else None,
        reads=reads,
    )


def _failure(error: PlannerError) -> ChildFailure:
    frames = error.frames if isinstance(error, ModelError) else ""
    return ChildFailure(
        error=type(error).__name__, message=sendable(str(error)), frames=sendable(frames)
    )


def _told(trace: StepTrace) -> StepTrace:
    failure = trace.failure
    if failure is None:
        return trace
    told = replace(failure, message=sendable(failure.message), frames=sendable(failure.frames))
    return replace(trace, failure=told)
