"""Serves the parent: loads the user's code once, then forks a process for each run.

In: LoadRequest and RunRequests, one JSON line each. Out: Loaded and RunEnded lines. A forked run
starts with torch and the user's code imported and with CUDA untouched: a provably clean state.
Where the user's code has touched CUDA or started threads while it was imported, a fork would not
be clean; the child then serves one run in its own process and says so.
"""

from __future__ import annotations

import ctypes
import faulthandler
import os
import selectors
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass

from planner.errors import ModelError, PlannerError
from planner.protocol import (
    ChildFailure,
    ChildVersions,
    Loaded,
    LoadRequest,
    RunEnded,
    RunRequest,
    decode,
    encode,
)
from planner.step import emulation
from planner.trace import StepTrace

_PR_SET_PDEATHSIG = 1
_POLL_S = 0.02
_Measure = Callable[[RunRequest], StepTrace]


@dataclass(slots=True)
class _Running:
    number: int
    pid: int
    pipe: int
    received: bytes = b""


def serve(requests: int, answers: int) -> int:
    """Answers until the parent closes its end; returns the exit code."""
    lines = _Lines(requests)
    first = lines.wait()
    if first is None:
        return 0
    request = decode(first, (LoadRequest,))
    _register_stack_dump(request.stack_file)
    loaded, measure = _load(request)
    _write(answers, encode(loaded))
    if measure is None:
        return 1
    if loaded.single_run is not None:
        line = lines.wait()
        if line is not None:
            _run_here(decode(line, (RunRequest,)), measure, answers)
        return 0
    _serve_runs(lines, answers, measure)
    return 0


def _load(request: LoadRequest) -> tuple[Loaded, _Measure | None]:
    try:
        emulation.load(request.libraries)
        emulation.configure(request.profile)
        os.environ["TRITON_LIBCUDA_PATH"] = request.driver_folder
        from planner.step.session import Session

        session = Session(request.target)
        return Loaded(versions=_versions(), single_run=_why_single()), session.measure
    except (PlannerError, OSError) as error:
        return Loaded(failure=_failure(error)), None


def _failure(error: Exception) -> ChildFailure:
    frames = error.frames if isinstance(error, ModelError) else ""
    return ChildFailure(error=type(error).__name__, message=str(error), frames=frames)


def _outcome(request: RunRequest, measure: _Measure) -> StepTrace | ChildFailure:
    try:
        return measure(request)
    except PlannerError as error:
        return _failure(error)


def _versions() -> ChildVersions:
    import torch

    return ChildVersions(
        torch=torch.__version__, cuda=torch.version.cuda or "", python=sys.version.split()[0]
    )


def _why_single() -> str | None:
    import torch

    if torch.cuda.is_initialized():
        return "the model's code uses the card while it is imported"
    if threading.active_count() > 1:
        return "the model's code starts threads while it is imported"
    return None


def _serve_runs(lines: _Lines, answers: int, measure: _Measure) -> None:
    """Forks for each request and reports each end, until the parent is gone."""
    running: list[_Running] = []
    with selectors.DefaultSelector() as selector:
        selector.register(lines.descriptor, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select(_POLL_S if running else None):
                if key.fd == lines.descriptor:
                    arrived = lines.available()
                    if arrived is None:
                        _kill_all(running)
                        return
                    for line in arrived:
                        run = _fork(decode(line, (RunRequest,)), measure, (lines.descriptor, answers))
                        running.append(run)
                        selector.register(run.pipe, selectors.EVENT_READ, run)
                else:
                    _receive(key.data, selector)
            for run in [run for run in running if _has_ended(run, selector, answers)]:
                running.remove(run)


def _fork(request: RunRequest, measure: _Measure, not_for_it: tuple[int, int]) -> _Running:
    read_end, write_end = os.pipe()
    parent = os.getpid()
    pid = os.fork()
    if pid:
        os.close(write_end)
        os.set_blocking(read_end, False)
        return _Running(number=request.number, pid=pid, pipe=read_end)
    code = 1
    try:
        _end_with(parent)
        for descriptor in (*not_for_it, read_end):
            os.close(descriptor)
        _write(write_end, encode(_outcome(request, measure)))
        code = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        # Not sys.exit: exit handlers of CUDA's users may abort on a device that is not there.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _run_here(request: RunRequest, measure: _Measure, answers: int) -> None:
    _write(answers, encode(_ended(request.number, _outcome(request, measure), status=0)))
    sys.stdout.flush()
    os._exit(0)


def _receive(run: _Running, selector: selectors.BaseSelector | None) -> None:
    try:
        while data := os.read(run.pipe, 1 << 16):
            run.received += data
    except BlockingIOError:
        return
    if selector is not None and run.pipe in selector.get_map():
        selector.unregister(run.pipe)  # its end is closed; the process is about to end


def _has_ended(run: _Running, selector: selectors.BaseSelector, answers: int) -> bool:
    """Reports the end of a run. Judged by the process: a helper of it may keep the pipe open."""
    pid, status = os.waitpid(run.pid, os.WNOHANG)
    if pid == 0:
        return False
    _receive(run, selector)
    if run.pipe in selector.get_map():
        selector.unregister(run.pipe)
    os.close(run.pipe)
    delivered = None
    if run.received.endswith(b"\n"):
        delivered = decode(run.received, (StepTrace, ChildFailure))
    _write(answers, encode(_ended(run.number, delivered, status)))
    return True


def _ended(number: int, delivered: StepTrace | ChildFailure | None, status: int) -> RunEnded:
    code = os.waitstatus_to_exitcode(status)
    return RunEnded(
        number=number,
        trace=delivered if isinstance(delivered, StepTrace) else None,
        failure=delivered if isinstance(delivered, ChildFailure) else None,
        exit_code=code if code >= 0 else None,
        signal=-code if code < 0 else None,
    )


def _kill_all(running: list[_Running]) -> None:
    for run in running:
        os.kill(run.pid, signal.SIGKILL)
        os.waitpid(run.pid, 0)


def _end_with(parent: int) -> None:
    """The run must not outlive the server, however that ends."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _register_stack_dump(path: str) -> None:
    # Kept open for the life of the process: faulthandler writes to the descriptor in a signal.
    file = open(path, "a")  # noqa: SIM115 # see above
    faulthandler.register(signal.SIGUSR1, file=file, all_threads=False)


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


class _Lines:
    """Lines of a pipe, waited for or taken as far as they have arrived."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._rest = b""

    def wait(self) -> bytes | None:
        """The next line; None at the end."""
        while b"\n" not in self._rest:
            data = os.read(self.descriptor, 1 << 16)
            if not data:
                return None
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        return line

    def available(self) -> list[bytes] | None:
        """Lines that have arrived, after the descriptor became readable; None at the end."""
        data = os.read(self.descriptor, 1 << 16)
        if not data:
            return None
        *lines, self._rest = (self._rest + data).split(b"\n")
        return lines
