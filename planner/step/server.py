"""Serves the parent: loads the user's code once, then forks a process for each run.

In: LoadRequest, then a request for each run, one JSON line each. Out: Loaded and RunEnded lines. A
forked run starts with torch and the user's code imported and with CUDA untouched: a provably clean
state.
Where the user's code has touched CUDA or started threads while it was imported, a fork would not
be clean; the child then serves one run in its own process and says so.
"""

from __future__ import annotations

import errno
import faulthandler
import os
import selectors
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import NoReturn, cast

from planner.data_cost import DataCost
from planner.errors import ChildError, ModelError, PlannerError, UnsupportedPlatformError
from planner.module_counts import ModelCounts
from planner.processes import end_descendants
from planner.protocol import (
    CLOSED_PIPE_CODE,
    ChildFailure,
    ChildVersions,
    DataRequest,
    Engine,
    InspectRequest,
    Loaded,
    LoadRequest,
    NeedsValues,
    RecordedRun,
    RunEnded,
    RunRequest,
    decode,
    encode,
)
from planner.step import alloc_conf, emulation
from planner.step.pipes import Lines, PrivateDescriptors, out_of_the_way, write
from planner.step.supervisor import end_with_parent, inherit_orphans
from planner.trace import StepTrace

_POLL_S = 0.02
_exit = os._exit  # the user's code may put a function of its own there
_MESSAGE_LIMIT = 4000  # characters of an exception's text; some print whole tensors
_Request = RunRequest | InspectRequest | DataRequest
_REQUESTS = (RunRequest, InspectRequest, DataRequest)
_Answer = StepTrace | RecordedRun | ModelCounts | DataCost
_Delivered = _Answer | ChildFailure | NeedsValues
_DELIVERED = (StepTrace, RecordedRun, ModelCounts, DataCost, ChildFailure, NeedsValues)
# A request, and what ends the process with another answer.
_Measure = Callable[[_Request, Callable[[NeedsValues], NoReturn]], _Answer]


@dataclass(slots=True)
class _Running:
    number: int
    pid: int
    pipe: int
    received: bytearray = field(default_factory=bytearray)


def serve(requests: int, answers: int, stack: int, notes: int) -> int:
    """Answers until the parent closes its end; returns the exit code.

    `stack` is a file for faulthandler, `notes` one for what a run reads while it goes on.
    """
    try:
        return _serve(requests, answers, stack, notes)
    except OSError as error:
        if error.errno != errno.EBADF:
            raise
        return CLOSED_PIPE_CODE


def _serve(requests: int, answers: int, stack: int, notes: int) -> int:
    private = PrivateDescriptors([requests, answers])
    os.register_at_fork(after_in_child=private.close)
    lines = Lines(requests)
    first = lines.wait()
    if first is None:
        return 0
    request = decode(first, (LoadRequest,))
    faulthandler.register(signal.SIGUSR1, file=stack, all_threads=True)
    loaded, measure = _load(request, notes)
    write(answers, encode(loaded))
    if measure is None:
        return 1
    if loaded.single_run is not None:
        line = lines.wait()
        if line is not None:
            _run_here(_decoded(line), measure, answers)
        return 0
    faulthandler.unregister(signal.SIGUSR1)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # a run tells where it hangs, not its server
    _Server(lines=lines, answers=answers, stack=stack, measure=measure, private=private).serve()
    return 0


def _load(request: LoadRequest, notes: int) -> tuple[Loaded, _Measure | None]:
    try:
        _load_torch(request)
        from planner.step.session import Session

        session = Session(request.target, request.engine, request.values, notes)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # ignored, it would swallow how a run ended
        return Loaded(versions=_versions(), single_run=_why_single()), session.answer
    except PlannerError as error:
        return Loaded(failure=_failure(error)), None
    except BaseException as error:
        if isinstance(error, Exception):
            raise
        return Loaded(failure=_failure(_raised(error))), None


def _load_torch(request: LoadRequest) -> None:
    try:
        if request.engine is Engine.EMULATED:
            emulation.load(request.libraries)
            emulation.configure(request.profile)
            os.environ["TRITON_LIBCUDA_PATH"] = request.driver_folder
        alloc_conf.choose(request.alloc_conf)
        import torch  # noqa: F401  # from here on, what fails is the user's code
    except Exception as error:
        raise UnsupportedPlatformError(
            f"torch does not start ({request.engine.value}): {type(error).__name__}: {error}"
        ) from error


def _raised(error: BaseException) -> ModelError:
    """The error for what no code but the user's raises: KeyboardInterrupt, a class of its own."""
    from planner.step.frames import describe, user_frames

    return ModelError(f"the model's code raised {describe(error)}", user_frames(error))


def _failure(error: PlannerError) -> ChildFailure:
    frames = error.frames if isinstance(error, ModelError) else ""
    return ChildFailure(
        error=type(error).__name__, message=_printable(str(error)), frames=_printable(frames)
    )


def _decoded(line: bytes) -> _Request:
    return cast("_Request", decode(line, _REQUESTS))


def _outcome(
    request: _Request, measure: _Measure, instead: Callable[[NeedsValues], NoReturn]
) -> _Delivered:
    try:
        answer = measure(request, instead)
    except PlannerError as error:
        return _failure(error)
    except BaseException as error:
        if isinstance(error, Exception):
            raise
        return _failure(_raised(error))
    if isinstance(answer, RecordedRun):
        return replace(answer, trace=_told(answer.trace))
    return _told(answer) if isinstance(answer, StepTrace) else answer


def _told(trace: StepTrace) -> StepTrace:
    failure = trace.failure
    if failure is None:
        return trace
    told = replace(failure, message=_printable(failure.message), frames=_printable(failure.frames))
    return replace(trace, failure=told)


def _printable(text: str) -> str:
    """What a terminal and JSON can take: no lone surrogates, not without end."""
    if len(text) > _MESSAGE_LIMIT:
        text = f"{text[:_MESSAGE_LIMIT]} ... ({len(text)} characters)"
    return text.encode("utf-8", "backslashreplace").decode()


def _versions() -> ChildVersions:
    import torch

    return ChildVersions(
        torch=torch.__version__, cuda=torch.version.cuda or "", python=sys.version.split()[0]
    )


def _why_single() -> str | None:
    import torch

    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call] # untyped in torch
        return "the model's code uses the card while it is imported"
    if _holds_a_card():
        return "the model's code opens the card while it is imported"
    lost = _lost_by_a_fork()
    if lost is not None:
        return f"the model's code {lost} while it is imported"
    if threading.active_count() > 1:
        return "the model's code starts threads while it is imported"
    return None


def _holds_a_card() -> bool:
    """Whether anything in this process, not only torch, has started CUDA on a physical card."""
    held = []
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            held.append(os.readlink(f"/proc/self/fd/{name}"))
    return any(place.startswith("/dev/nvidia") for place in held)


def _lost_by_a_fork() -> str | None:
    """What of the user's code makes a run in a forked process another one: seen there alone."""
    import torch

    pid = os.fork()
    if pid == 0:
        refused = torch.cuda._is_in_bad_fork()
        os._exit(1 if refused else 2 if not alloc_conf.is_still_read() else 0)
    status = os.waitpid(pid, 0)[1]
    if status == 0:
        return None
    set_up = os.waitstatus_to_exitcode(status) == 2
    return "sets the allocator up" if set_up else "asks for the card"


@dataclass(slots=True, kw_only=True)
class _Server:
    """Forks for each request and reports each end, until the parent is gone."""

    lines: Lines
    answers: int
    stack: int
    measure: _Measure
    private: PrivateDescriptors
    running: list[_Running] = field(default_factory=list)

    def serve(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self.lines.descriptor, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select(_POLL_S if self.running else None):
                    if key.fd != self.lines.descriptor:
                        _receive(key.data, selector)
                        continue
                    arrived = self.lines.available()
                    if arrived is None:
                        return  # the supervisor ends the runs
                    for line in arrived:
                        run = self._fork(_decoded(line))
                        self.running.append(run)
                        selector.register(run.pipe, selectors.EVENT_READ, run)
                for run in [run for run in self.running if self._has_ended(run, selector)]:
                    self.running.remove(run)

    def _fork(self, request: _Request) -> _Running:
        read_end, write_end = map(out_of_the_way, os.pipe())
        parent = os.getpid()
        pid = os.fork()
        if pid:
            os.close(write_end)
            os.set_blocking(read_end, False)
            return _Running(number=request.number, pid=pid, pipe=read_end)
        code = 1
        try:
            os.setpgid(0, 0)
            end_with_parent(parent)
            inherit_orphans()
            os.close(read_end)
            for other in self.running:
                os.close(other.pipe)
            self.private.descriptors.append(write_end)  # for what the user's code forks
            faulthandler.register(signal.SIGUSR1, file=self.stack, all_threads=True)

            def instead(answer: NeedsValues) -> NoReturn:
                _leave(_delivered(write_end, encode(answer)))

            code = _delivered(write_end, encode(_outcome(request, self.measure, instead)))
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            _leave(code)

    def _has_ended(self, run: _Running, selector: selectors.BaseSelector) -> bool:
        """Reports the end of a run. Judged by the process: a helper may keep the pipe open."""
        if os.waitid(os.P_PID, run.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            return False
        with suppress(ProcessLookupError):
            os.killpg(run.pid, signal.SIGKILL)  # workers that it has left behind
        _, status = os.waitpid(run.pid, 0)
        _receive(run, selector)
        if run.pipe in selector.get_map():
            selector.unregister(run.pipe)
        os.close(run.pipe)
        delivered: _Delivered | None = None
        if run.received.endswith(b"\n"):
            with suppress(ChildError):  # the user's code wrote to a descriptor that is not its own
                delivered = cast("_Delivered", decode(bytes(run.received), _DELIVERED))
        write(self.answers, encode(_ended(run.number, delivered, status)))
        return True


def _run_here(request: _Request, measure: _Measure, answers: int) -> None:
    code = 1

    def instead(answer: NeedsValues) -> NoReturn:
        _leave(_delivered(answers, encode(_ended(request.number, answer, status=0))))

    try:
        outcome = _outcome(request, measure, instead)
        code = _delivered(answers, encode(_ended(request.number, outcome, status=0)))
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        _leave(code)


def _delivered(pipe: int, line: bytes) -> int:
    """Sends the answer of a run; returns the exit code that says whether it could."""
    try:
        write(pipe, line)
    except OSError:
        return CLOSED_PIPE_CODE
    return 0


def _leave(code: int) -> NoReturn:
    """Ends the process, whatever the user's code has made of its streams, and all it started.

    Not sys.exit: exit handlers of CUDA's users may abort on a device that is not there.
    """
    try:
        for stream in (sys.stdout, sys.stderr):
            with suppress(BaseException):
                stream.flush()
        with suppress(ValueError):  # in another thread
            signal.signal(
                signal.SIGCHLD, signal.SIG_DFL
            )  # a DataLoader would raise for its workers
        end_descendants()
    finally:
        _exit(code)


def _receive(run: _Running, selector: selectors.BaseSelector) -> None:
    try:
        while data := os.read(run.pipe, 1 << 16):
            run.received += data
    except BlockingIOError:
        return
    if run.pipe in selector.get_map():
        selector.unregister(run.pipe)  # its end is closed; the process is about to end


def _ended(number: int, delivered: _Delivered | None, status: int) -> RunEnded:
    code = os.waitstatus_to_exitcode(status)
    recorded = delivered if isinstance(delivered, RecordedRun) else None
    alone = delivered if isinstance(delivered, StepTrace) else None
    return RunEnded(
        number=number,
        trace=recorded.trace if recorded else alone,
        allocations=recorded.allocations if recorded else None,
        requests=recorded.requests if recorded else None,
        counts=delivered if isinstance(delivered, ModelCounts) else None,
        data_cost=delivered if isinstance(delivered, DataCost) else None,
        log=recorded.log if recorded else None,
        needs_values=isinstance(delivered, NeedsValues),
        failure=delivered if isinstance(delivered, ChildFailure) else None,
        exit_code=code if code >= 0 else None,
        signal=-code if code < 0 else None,
    )
