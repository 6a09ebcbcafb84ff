"""The child process: starts it, asks it for runs, and makes sure that nothing of it stays behind.

In: a LoadRequest and RunRequests. Out: StepTraces, or an error that says how the child ended.
One child imports torch and the user's code once and forks a fresh process for each run, so a run
begins in a clean state and costs no second import. Runs may be asked for by several threads.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import planner.errors
from planner.device.processes import end_session
from planner.errors import ChildError, ChildTimeoutError, ModelError, PlannerError
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
from planner.trace import StepTrace
from planner.workload import StepConfig

_STACK_WAIT_S = 1.0
_Answer = TypeVar("_Answer")


class Child:
    """A running child that has loaded one target. Use as a context manager."""

    def __init__(
        self, request: LoadRequest, *, timeout_s: float, environment: Mapping[str, str] | None = None
    ) -> None:
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._pending: dict[int, Future[RunEnded]] = {}
        self._number = 0
        self._broken: ChildError | None = None
        self._loaded: Future[Loaded] = Future()
        self._folder = tempfile.TemporaryDirectory(prefix="vram-planner-")
        self._stack_file = Path(self._folder.name) / "stack"
        self._stack_file.touch(mode=0o600)
        try:
            self._start(replace(request, stack_file=str(self._stack_file)), environment or {})
        except BaseException:
            self._folder.cleanup()
            raise

    def _start(self, request: LoadRequest, environment: Mapping[str, str]) -> None:
        requests_out, requests_in = os.pipe()
        answers_out, answers_in = os.pipe()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "planner.step", str(requests_out), str(answers_in)],
                stdin=subprocess.DEVNULL,
                # What the user's model prints goes to stderr: stdout is the report alone.
                stdout=2,
                env=_child_environment(environment),
                pass_fds=(requests_out, answers_in),
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
        self._send(encode(request))
        self._reader = threading.Thread(target=self._read, name="planner-child", daemon=True)
        self._reader.start()

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
        end_session(self._process)
        self._requests.close()
        self._reader.join(timeout=5)
        self._answers.close()
        self._folder.cleanup()

    def wait_loaded(self) -> tuple[ChildVersions, str | None]:
        """Versions of the child, and why it can serve one run only (None: it can serve many).

        Raises:
            PlannerError: what the child raised while it loaded the user's code.
            ChildError: it was killed; ChildTimeoutError: it took too long.
        """
        loaded = self._wait(self._loaded, "importing torch and the model's code")
        if loaded.failure is not None:
            raise _raised_again(loaded.failure)
        assert loaded.versions is not None
        return loaded.versions, loaded.single_run

    def run(self, profile: str, config: StepConfig) -> RunEnded:
        """One run on the card of `profile`; the trace is there.

        Raises:
            PlannerError: what the child raised because the request cannot be carried out.
            ChildError: the run was killed before it delivered; ChildTimeoutError: too slow.
        """
        answer: Future[RunEnded] = Future()
        with self._lock:
            self._number += 1
            number = self._number
            self._pending[number] = answer
            if self._broken is not None:
                raise self._broken
            self._send(encode(RunRequest(number=number, profile=profile, config=config)))
        ended = self._wait(answer, f"running the step with batch {config.batch_size}")
        if ended.failure is not None:
            raise _raised_again(ended.failure)
        if ended.trace is None:
            raise ChildError(_death(ended, config))
        return ended

    def _send(self, line: bytes) -> None:
        try:
            while line:
                line = line[self._requests.write(line) :]
        except BrokenPipeError:
            pass  # the reader sees the end of the child and tells everybody who waits

    def _wait(self, future: Future[_Answer], doing: str) -> _Answer:
        try:
            return future.result(timeout=self._timeout_s)
        except TimeoutError:
            where = self._stack()
            self.close()
            raise ChildTimeoutError(
                f"{doing} did not end within {self._timeout_s:g} s and was stopped; "
                f"allow more with --timeout, or look where it waits{where}"
            ) from None

    def _stack(self) -> str:
        """Where the child is, by faulthandler: "" when it cannot say."""
        try:
            os.killpg(self._process.pid, signal.SIGUSR1)
            threading.Event().wait(_STACK_WAIT_S)
            text = self._stack_file.read_text(encoding="utf-8", errors="replace").strip()
        except OSError:
            return ""
        return f":\n{text[-1500:]}" if text else ""

    def _read(self) -> None:
        try:
            for line in self._answers:
                message = decode(line, (Loaded, RunEnded))
                if isinstance(message, Loaded):
                    self._loaded.set_result(message)
                else:
                    with self._lock:
                        answer = self._pending.pop(message.number, None)
                    if answer is not None:
                        answer.set_result(message)
            self._fail(ChildError(f"the child process ended early: {self._ending()}"))
        except ChildError as error:
            self._fail(error)
        except (OSError, ValueError):  # closed by us
            self._fail(ChildError("the child process was closed"))

    def _ending(self) -> str:
        code = self._process.wait()
        return f"killed by {_signal_name(-code)}" if code < 0 else f"exit code {code}"

    def _fail(self, error: ChildError) -> None:
        with self._lock:
            self._broken = error
            waiting, self._pending = list(self._pending.values()), {}
        for answer in waiting:
            answer.set_exception(error)
        if not self._loaded.done():
            self._loaded.set_exception(error)


def _child_environment(extra: Mapping[str, str]) -> dict[str, str]:
    environment = dict(os.environ)
    # The emulated card is the only one that the child may see.
    environment.pop("CUDA_VISIBLE_DEVICES", None)
    # Out of memory is a result here, not a warning of the allocator on the terminal.
    environment["TORCH_CPP_LOG_LEVEL"] = "ERROR"
    environment["PYTHONHASHSEED"] = "0"  # the same run gives the same bytes
    # torch.compile would start helpers that do not have the emulated device.
    environment["TORCHINDUCTOR_COMPILE_THREADS"] = "1"
    package_root = str(Path(planner.errors.__file__).resolve().parent.parent)
    path = environment.get("PYTHONPATH")
    environment["PYTHONPATH"] = f"{package_root}{os.pathsep}{path}" if path else package_root
    environment.update(extra)
    return environment


def _raised_again(failure: ChildFailure) -> PlannerError:
    kind = getattr(planner.errors, failure.error, None)
    if kind is ModelError:
        return ModelError(failure.message, failure.frames)
    if isinstance(kind, type) and issubclass(kind, PlannerError):
        return kind(failure.message)
    return ChildError(f"{failure.error}: {failure.message}")


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _death(ended: RunEnded, config: StepConfig) -> str:
    doing = f"the run with batch {config.batch_size} ended before it had a result"
    if ended.signal is None:
        return f"{doing}: the model's code left the process with exit code {ended.exit_code}"
    hint = ""
    if ended.signal == signal.SIGKILL:
        hint = "; the usual cause is that the host ran out of RAM (dmesg tells)"
    elif ended.signal in (signal.SIGSEGV, signal.SIGABRT):
        hint = "; native code that the model calls crashed on the emulated device"
    return f"{doing}: killed by {_signal_name(ended.signal)}{hint}"


def delivered(ended: RunEnded) -> tuple[StepTrace, str | None]:
    """The trace of a run, and a warning if its process crashed after it had delivered it."""
    assert ended.trace is not None
    if ended.signal is None and ended.exit_code == 0:
        return ended.trace, None
    how = _signal_name(ended.signal) if ended.signal else f"exit code {ended.exit_code}"
    return ended.trace, f"a run ended with {how} after it had delivered its result"
