"""Lets vLLM start in a process of its own on the emulated card, and returns what it printed.

In: an EngineStart. Out: its log. Convention: what vLLM and its compilers keep goes into a folder
that is thrown away, since no program of the user may take what an emulated card has tuned; it asks
no hub, and of the model it has the config alone.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from planner.errors import ChildError, ChildTimeoutError
from planner.machine.processes import end_session
from planner.process.command import planner_command
from planner.process.environment import child_environment
from planner.process.exit_reasons import hint, signal_name
from planner.wire.engine_start import EngineStart, start_text

_MODULE = "planner.worker.engines.vllm_start"
_LOG_BYTES = 4 << 20  # a start prints some 20 KiB
# In its own process: a second one would not have the emulated card.
_ALWAYS = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_CONFIGURE_LOGGING": "1",
    "VLLM_LOGGING_LEVEL": "INFO",
    "VLLM_LOGGING_COLOR": "0",
    "VLLM_NO_USAGE_STATS": "1",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
}
_FOLDERS = (
    "VLLM_CACHE_ROOT", "TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR",
    "FLASHINFER_AUTOTUNE_CACHE_DIR",
)  # fmt: skip
# The lines that torch, Python and ninja print last: what went wrong.
_ERROR = re.compile(r"^(?:\S*\[rank\d+\]:)?\s*([A-Za-z_][\w.]*(?:Error|Exception)\b.*)$", re.M)


@dataclass(frozen=True, slots=True, kw_only=True)
class StartLog:
    """What vLLM printed. `error` is the last error that it raised; "": it stands."""

    text: str
    error: str


def installed_vllm() -> str | None:
    """Returns the version of vLLM beside this planner, like "0.33.0"; None: it is not installed."""
    if find_spec("vllm") is None:
        return None
    try:
        return version("vllm")
    except PackageNotFoundError:
        return None


def started(start: EngineStart, *, timeout_s: float) -> StartLog:
    """Starts vLLM and returns its log, also where the start fails by an error of its own.

    Raises:
        ChildError: it was killed, or cannot be started. ChildTimeoutError: it took too long.
    """
    with tempfile.TemporaryDirectory(prefix="planner-engine-") as name:
        folder = Path(name)
        kept = {variable: str(folder / variable.lower()) for variable in _FOLDERS}
        with (folder / "log").open("w+b") as log:
            code = _run(start, child_environment({**_ALWAYS, **kept}), log.fileno(), timeout_s)
            log.seek(0)
            text = log.read(_LOG_BYTES).decode("utf-8", "replace")
    if code == 0:
        return StartLog(text=text, error="")
    if code < 0:
        raise ChildError(f"vllm's own start was killed by {signal_name(-code)}{hint(-code)}")
    errors = _ERROR.findall(text)
    return StartLog(text=text, error=errors[-1].strip() if errors else f"exit code {code}")


def _run(start: EngineStart, environment: dict[str, str], log: int, timeout_s: float) -> int:
    """Returns the exit code; nothing of the process is left then."""
    try:
        process = subprocess.Popen(
            planner_command(_MODULE),
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
    except OSError as error:
        raise ChildError(f"vllm cannot be started: {error}") from error
    assert process.stdin is not None, "it is a pipe"
    try:
        process.stdin.write(start_text(start).encode())
        process.stdin.flush()  # left open: its end is the end of that process
        return process.wait(timeout=timeout_s)
    except BrokenPipeError:
        return process.wait(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        raise ChildTimeoutError(
            f"vllm's own start took longer than {timeout_s:g} s: give it more time (--timeout 30m)"
        ) from None
    finally:
        end_session(process)
        process.stdin.close()
