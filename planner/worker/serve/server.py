"""Serves the parent: loads the user's code once, then forks a process for each job.

In: LoadRequest, then a JobRequest for each job, one JSON line each. Out: Loaded and JobEnded lines.
A forked job starts with torch and the user's code imported and with CUDA untouched: a provably
clean state.
If the user's code has touched CUDA or started threads during its import, a fork would not be
clean; the child then does one job in its own process and reports this.
"""

from __future__ import annotations

import errno
import faulthandler
import os
import selectors
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NoReturn, Protocol, cast, get_args

from planner.errors import ChildError, UnsupportedPlatformError
from planner.machine.parentage import end_with_parent, inherit_orphans
from planner.machine.processes import end_descendants
from planner.wire.jobs import Answer, Job, NeedsValues
from planner.wire.protocol import (
    CLOSED_PIPE_CODE,
    ChildVersions,
    Delivered,
    Engine,
    JobRequest,
    Loaded,
    LoadRequest,
    decode,
    encode,
)
from planner.wire.reads import Reads
from planner.worker.engines import alloc_conf, emulation
from planner.worker.reads import recorder
from planner.worker.serve import compiler_folder
from planner.worker.serve.delivery import ended, failure_of, printable, send
from planner.worker.serve.pipes import Lines, PrivateDescriptors, out_of_the_way, write
from planner.worker.serve.single_run import why_single

_POLL_S = 0.02
_exit = os._exit  # the user's code may put a function of its own there
_DELIVERED = get_args(Delivered)


class _Worker(Protocol):
    """The user's code, loaded; see Worker of worker/serve/session.py."""

    def get_ready(self, job: Job, *, has_compiled: bool) -> None: ...

    def answer(self, job: Job, instead: Callable[[NeedsValues], NoReturn]) -> Answer: ...


@dataclass(slots=True)
class _Running:
    number: int
    pid: int
    pipe: int
    received: bytearray = field(default_factory=bytearray)


def serve(requests: int, answers: int, stack: int, notes: int, compiled: str | None) -> int:
    """Answers until the parent closes its end; returns the exit code.

    `stack` is a file for faulthandler, `notes` one for a run's notes on reads and progress,
    `compiled` the folder for what the compiler makes.
    """
    try:
        return _serve(requests, answers, stack, notes, compiled)
    except OSError as error:
        if error.errno != errno.EBADF:
            raise
        return CLOSED_PIPE_CODE


def _serve(requests: int, answers: int, stack: int, notes: int, compiled: str | None) -> int:
    private = PrivateDescriptors([requests, answers])
    os.register_at_fork(after_in_child=private.close)
    lines = Lines(requests)
    first = lines.wait()
    if first is None:
        return 0
    request = decode(first, (LoadRequest,))
    if request.engine is not Engine.EMULATED:
        compiled = None  # this machine compiles for itself, into its own folder
    faulthandler.register(signal.SIGUSR1, file=stack, all_threads=True)
    compiler_folder.use(compiler_folder.of_run(compiled, 0))
    loaded, worker = _load(request, notes, compiled)
    write(answers, encode(loaded))
    if worker is None:
        return 1
    if loaded.single_run is not None:
        line = lines.wait()
        if line is not None:
            _run_here(decode(line, (JobRequest,)), worker, answers)
        return 0
    faulthandler.unregister(signal.SIGUSR1)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # a run reports where it hangs, not its server
    server = _Server(
        lines=lines,
        answers=answers,
        stack=stack,
        worker=worker,
        private=private,
        compiled=compiled,
    )
    server.serve()
    return 0


def _load(request: LoadRequest, notes: int, compiled: str | None) -> tuple[Loaded, _Worker | None]:
    try:
        if request.reports_reads:
            recorder.begin(compiled)
        _load_torch(request)
        from planner.worker.serve.session import Worker

        recorder.forgive()

        worker = Worker(request.target, request.engine, request.values, notes)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # if ignored, exit statuses are lost
        with recorder.paused():
            single_run = why_single()
        loaded = Loaded(
            versions=_versions(),
            single_run=single_run,
            reads=recorder.taken(),
            levers=worker.levers,
        )
        return loaded, worker
    except BaseException as error:
        return Loaded(failure=failure_of(error)), None


def _load_torch(request: LoadRequest) -> None:
    try:
        if request.engine is Engine.EMULATED:
            emulation.load_card(request.libraries, request.profile, request.driver_folder)
        alloc_conf.choose(request.alloc_conf)
        import torch  # noqa: F401  # from here on, what fails is the user's code
    except Exception as error:
        raise UnsupportedPlatformError(
            f"torch does not start ({request.engine.value}): {type(error).__name__}: {error}"
        ) from error


def _outcome(job: Job, worker: _Worker, instead: Callable[[NeedsValues], NoReturn]) -> Delivered:
    try:
        return printable(worker.answer(job, instead))
    except BaseException as error:
        return failure_of(error)


def _versions() -> ChildVersions:
    import torch

    return ChildVersions(
        torch=torch.__version__, cuda=torch.version.cuda or "", python=sys.version.split()[0]
    )


@dataclass(slots=True, kw_only=True)
class _Server:
    """Forks for each request and reports each end, until the parent is gone."""

    lines: Lines
    answers: int
    stack: int
    worker: _Worker
    private: PrivateDescriptors
    compiled: str | None
    has_compiled: bool = False  # whether a run has
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
                        run = self._fork(decode(line, (JobRequest,)))
                        self.running.append(run)
                        selector.register(run.pipe, selectors.EVENT_READ, run)
                for run in [run for run in self.running if self._has_ended(run, selector)]:
                    self.running.remove(run)

    def _fork(self, request: JobRequest) -> _Running:
        read_end, write_end = map(out_of_the_way, os.pipe())
        parent = os.getpid()
        self.worker.get_ready(request.job, has_compiled=self.has_compiled)
        with recorder.paused():
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
            self.private.descriptors.append(write_end)  # closed in forks by the user's code
            faulthandler.register(signal.SIGUSR1, file=self.stack, all_threads=True)
            compiler_folder.use(compiler_folder.of_run(self.compiled, request.number))

            def instead(other: NeedsValues) -> NoReturn:
                _leave(send(write_end, _with_reads(other)))

            code = send(write_end, _with_reads(_outcome(request.job, self.worker, instead)))
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            _leave(code)

    def _has_ended(self, run: _Running, selector: selectors.BaseSelector) -> bool:
        """Reports the end of a run. The process decides: its workers may keep the pipe open."""
        if os.waitid(os.P_PID, run.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            return False
        with suppress(ProcessLookupError):
            os.killpg(run.pid, signal.SIGKILL)  # workers that it has left behind
        _, status = os.waitpid(run.pid, 0)
        _receive(run, selector)
        if run.pipe in selector.get_map():
            selector.unregister(run.pipe)
        os.close(run.pipe)
        folder = compiler_folder.of_run(self.compiled, run.number)
        self.has_compiled |= compiler_folder.was_used(folder)
        compiler_folder.removed(folder)
        delivered: Delivered | None = None
        reads: Reads | None = None
        if run.received.endswith(b"\n"):
            *before, line = bytes(run.received).splitlines()
            with suppress(ChildError):  # the user's code wrote to a descriptor that it did not open
                reads = decode(before[0], (Reads,)) if len(before) == 1 else None
                delivered = cast("Delivered", decode(b"".join(before[1:]) + line, _DELIVERED))
        write(self.answers, encode(ended(run.number, delivered, status, reads)))
        return True


def _with_reads(delivered: Delivered) -> bytes:
    """Returns the lines of a run: what it has read, if that is recorded, and its result."""
    reads = recorder.taken()
    return (b"" if reads is None else encode(reads)) + encode(delivered)


def _run_here(request: JobRequest, worker: _Worker, answers: int) -> None:
    code = 1

    def instead(other: NeedsValues) -> NoReturn:
        _leave(send(answers, encode(ended(request.number, other, status=0))))

    try:
        outcome = _outcome(request.job, worker, instead)
        code = send(answers, encode(ended(request.number, outcome, status=0)))
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        _leave(code)


def _leave(code: int) -> NoReturn:
    """Ends the process and all that it started, also if the user's code has broken its streams.

    Not sys.exit: exit handlers of libraries that use CUDA may abort without a real device.
    """
    try:
        for stream in (sys.stdout, sys.stderr):
            with suppress(BaseException):
                stream.flush()
        with suppress(ValueError):  # in another thread
            # a DataLoader's handler would raise for its workers
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
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
