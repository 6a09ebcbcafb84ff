"""Starts the command of `planner run` where it can do no harm, and ends all that it has started.

In: the folder of the run, with the WardenOrder, and a pipe that closes when planner is gone. Out:
the file ENDED with the wait status of the command. Convention: runs in planner's own interpreter;
every orphan of the command becomes a child of this process.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import NoReturn

from planner.machine.parentage import end_with_parent, inherit_orphans
from planner.machine.processes import end_family, living_processes, reap_all
from planner.machine.whole_files import write_whole
from planner.wire.warden import (
    ENDED_FILE,
    ORDER_FILE,
    REFUSED_CODE,
    SHIELD_FILE,
    CommandEnded,
    Shield,
    ShieldKind,
    WardenOrder,
)
from planner.worker.script.landlock import allow_writes_below
from planner.worker.script.namespaces import enter_namespaces

_POLL_MS = 20


def main() -> int:
    """Runs the command of the folder and returns when it has ended, or planner is gone."""
    folder, life = Path(sys.argv[1]), int(sys.argv[2])
    order = WardenOrder(**json.loads((folder / ORDER_FILE).read_text(encoding="utf-8")))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # planner decides when the command ends
    inherit_orphans()
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    warden = os.getpid()
    command = os.fork()
    if command == 0:
        end_with_parent(warden)
        os.close(life)
        _become(order, folder)
    status = _watch(command, life)
    if status is not None:
        left = [one for one in living_processes() if one.parent == warden]
        ended = CommandEnded(code=os.waitstatus_to_exitcode(status), left=len(left))
        write_whole(folder / ENDED_FILE, json.dumps(asdict(ended)))
    end_family()
    return 0


def _watch(command: int, life: int) -> int | None:
    """Returns the wait status of the command; None if planner is gone first."""
    poll = select.poll()
    poll.register(life, 0)  # only its closing counts
    while True:
        gone = bool(poll.poll(_POLL_MS))
        ended = reap_all()
        if command in ended:
            return ended[command]
        if gone:
            return None


def _become(order: WardenOrder, folder: Path) -> NoReturn:
    """Becomes the command; leaves with REFUSED_CODE where nothing would keep its writes away."""
    try:
        shield = _shielded(order, folder)
        write_whole(folder / SHIELD_FILE, json.dumps(asdict(shield)))
        if shield.kind is ShieldKind.NOTHING and not shield.is_wanted:
            os._exit(REFUSED_CODE)
        os.chdir(order.working)
        os.environ.update(order.environment)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.execvp(order.command[0], list(order.command))
    except BaseException as error:
        print(f"planner: {order.command[0]}: {error}", file=sys.stderr, flush=True)
    finally:
        os._exit(127)


def _shielded(order: WardenOrder, folder: Path) -> Shield:
    """Returns what keeps writes away from now on.

    A try may leave a process half way: each is made in a fork first.
    """
    kept = [Path(path) for path in order.kept]
    if Path("/") in kept:
        return Shield(kind=ShieldKind.NOTHING, is_wanted=True)
    reasons = []
    if ShieldKind.NAMESPACES in order.kinds:
        reason = _tried(lambda: enter_namespaces(folder, kept, Path(order.working)))
        if reason is None:
            enter_namespaces(folder, kept, Path(order.working))
            return Shield(kind=ShieldKind.NAMESPACES)
        reasons.append(reason)
    if ShieldKind.LANDLOCK in order.kinds:
        temporary = folder / "tmp"
        temporary.mkdir(exist_ok=True)
        os.environ["TMPDIR"] = str(temporary)
        try:
            allow_writes_below([folder, *kept])
            return Shield(kind=ShieldKind.LANDLOCK, reasons=tuple(reasons))
        except OSError as error:
            reasons.append(str(error.strerror))
    return Shield(kind=ShieldKind.NOTHING, reasons=tuple(reasons))


def _tried(action: Callable[[], None]) -> str | None:
    """Returns why the action fails in a process of its own; None if it does not."""
    read_end, told = os.pipe()
    trial = os.fork()
    if trial == 0:
        try:
            action()
            os._exit(0)
        except BaseException as error:
            # by a descriptor: a half made view may hide the folder
            os.write(told, str(getattr(error, "strerror", None) or error).encode())
        finally:
            os._exit(1)
    os.close(told)
    with os.fdopen(read_end, encoding="utf-8") as reading:
        reason = reading.read()
    _, status = os.waitpid(trial, 0)
    return None if status == 0 else reason or "it is not known why"
