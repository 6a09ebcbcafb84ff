"""One run of a script's command under the warden: started, watched, ended.

In: the command, the ScriptOrder, a time limit. Out: CommandResult: its reports, and how it ended.
Convention: the folder of the run is private and is removed; nothing that the command has started
is left.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import msgspec

import planner._version
from planner.errors import ChildError
from planner.machine.processes import PATIENCE_S, end_session, kill
from planner.process.environment import child_environment
from planner.process.exit_reasons import told_stack
from planner.process.script.words import ScriptCommand, environment_of
from planner.wire.script import (
    ORDER_FILE,
    REPORT_PREFIX,
    STACK_FILE,
    STATE_VARIABLE,
    ScriptEnd,
    ScriptOrder,
    ScriptReport,
    order_text,
)
from planner.wire.warden import (
    ENDED_FILE,
    REFUSED_CODE,
    SHIELD_FILE,
    CommandEnded,
    Shield,
    ShieldKind,
    WardenOrder,
)
from planner.wire.warden import ORDER_FILE as WARDEN_FILE

_PAUSE_S = 0.03
_STACK_WAIT_S = 1.0
_WARDEN_WAIT_S = PATIENCE_S + 2
# Ends of a process after which the command need not go on.
_FINAL = (ScriptEnd.STEPS_DONE, ScriptEnd.REFUSED)
_OFFLINE = {
    "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1", "WANDB_MODE": "disabled", "WANDB_SILENT": "true",
    "COMET_MODE": "disabled", "NEPTUNE_MODE": "debug", "MLFLOW_ENABLE_ASYNC_LOGGING": "false",
    "DO_NOT_TRACK": "1",
}  # fmt: skip
_BOOTSTRAP = """\
import sys
if sys.path[:1] == [""]:
    del sys.path[0]
root = sys.argv.pop(1)
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
spec = PathFinder.find_spec("planner", [root])
sys.modules["planner"] = module_from_spec(spec)
spec.loader.exec_module(sys.modules["planner"])
from planner.worker.script.warden import main
sys.exit(main())
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandResult:
    """How a command ended, and what its processes have reported.

    `ended` is None where it was ended here; `stack` is where its processes were at a time-out.
    `torch_seen`: a process of it imported torch.
    """

    reports: tuple[ScriptReport, ...]
    ended: CommandEnded | None
    shield: Shield
    timed_out: bool
    stack: str
    torch_seen: bool


def run_command(
    command: ScriptCommand,
    order: ScriptOrder,
    *,
    working: Path,
    timeout_s: float,
    kept: Sequence[Path] = (),
    shields: Sequence[ShieldKind] = (ShieldKind.NAMESPACES, ShieldKind.LANDLOCK),
) -> CommandResult:
    """Runs the command until a process of it has made its steps, it ends, or the time is over.

    Raises:
        ChildError: it cannot be started, or a report cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="planner-run-") as name:
        folder = Path(name).resolve()
        changed = replace(order, folder=str(folder))
        (folder / ORDER_FILE).write_text(order_text(changed), encoding="utf-8")
        asked = WardenOrder(
            command=command.words,
            working=str(working),
            environment=_environment(folder, order),
            kept=[str(path) for path in kept],
            kinds=[kind.value for kind in shields],
        )
        (folder / WARDEN_FILE).write_text(json.dumps(asdict(asked)), encoding="utf-8")
        with _warden(folder) as warden:
            return _watched(warden, folder, timeout_s)


def _environment(folder: Path, order: ScriptOrder) -> dict[str, str]:
    """Returns the variables that the command sees in place of those of this process."""
    inject = Path(planner._version.__file__).resolve().parent / "worker" / "script" / "inject"
    return {
        **_OFFLINE,
        # A process that planner does not reach sees no card, in place of a real one.
        "CUDA_VISIBLE_DEVICES": "",
        STATE_VARIABLE: str(folder / ORDER_FILE),
        "PYTHONPATH": environment_of(str(inject)),
        "TRITON_LIBCUDA_PATH": order.driver_folder,
    }


@contextmanager
def _warden(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Starts the warden; at the end nothing is left of it and the command."""
    root = Path(planner._version.__file__).resolve().parents[1]
    life, alive = os.pipe()
    try:
        process = subprocess.Popen(
            [sys.executable, "-c", _BOOTSTRAP, str(root), str(folder), str(life)],
            stdin=subprocess.DEVNULL,
            stdout=2,  # of the script: stdout holds the report alone
            env=child_environment({}),
            pass_fds=(life,),
            start_new_session=True,
        )
    except OSError as error:
        os.close(alive)
        raise ChildError(f"the script cannot be started: {error}") from error
    finally:
        os.close(life)
    try:
        yield process
    finally:
        os.close(alive)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=_WARDEN_WAIT_S)
        end_session(process)


def _watched(warden: subprocess.Popen[bytes], folder: Path, timeout_s: float) -> CommandResult:
    deadline_s = time.monotonic() + timeout_s
    stack, timed_out = "", False
    while warden.poll() is None and not _is_final(folder):
        if time.monotonic() > deadline_s:
            timed_out, stack = True, _stack(folder)
            break
        time.sleep(_PAUSE_S)
    ended = folder / ENDED_FILE
    shield = folder / SHIELD_FILE
    found = json.loads(shield.read_text(encoding="utf-8")) if shield.exists() else {}
    return CommandResult(
        reports=tuple(reports_in(folder)),
        ended=CommandEnded(**json.loads(ended.read_text(encoding="utf-8")))
        if ended.exists()
        else None,
        shield=msgspec.convert(found, Shield) if found else Shield(kind=ShieldKind.NOTHING),
        timed_out=timed_out,
        stack=stack,
        torch_seen=any(folder.glob(f"{STACK_FILE}-*")),
    )


def _is_final(folder: Path) -> bool:
    return any(any(folder.glob(f"{REPORT_PREFIX}{end.name.lower()}-*")) for end in _FINAL)


def reports_in(folder: Path, process: int | None = None) -> Iterator[ScriptReport]:
    """Yields what processes have reported into the folder of a run; or one process, by its number.

    Raises:
        ChildError: a report cannot be read.
    """
    number = "" if process is None else f"-{process}"
    for file in sorted(folder.glob(f"{REPORT_PREFIX}*{number}")):
        try:
            yield msgspec.convert(json.loads(file.read_bytes()), ScriptReport)
        except (ValueError, msgspec.ValidationError) as error:
            raise ChildError(f"a process of the script reported garbage: {error}") from error


def _stack(folder: Path) -> str:
    """Returns the stacks of the command's Python processes that have imported torch."""
    files = list(folder.glob(f"{STACK_FILE}-*"))
    for file in files:
        kill(int(file.name.rpartition("-")[2]), signal.SIGUSR1)
    time.sleep(_STACK_WAIT_S)
    return told_stack("\n".join(file.read_text(errors="replace") for file in files))


def was_refused(result: CommandResult) -> bool:
    """Returns whether the command was not started, because nothing keeps its writes away."""
    return (
        result.ended is not None
        and result.ended.code == REFUSED_CODE
        and (result.shield.kind is ShieldKind.NOTHING and not result.shield.is_wanted)
    )
