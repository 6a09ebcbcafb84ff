"""How a script is estimated, as data.

In: nothing. Out: ScriptRequest.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from planner.estimation.context import Progress
from planner.process.script.ends import ScriptLimits
from planner.process.script.interpreter import Interpreter
from planner.process.script.words import ScriptCommand


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptRequest:
    """A command, its Python, and how it is run.

    `batch_argument` names the argument with its batch; without one, that of its first DataLoader
    is varied. `search` asks for the largest batch; `keep_batches` is a number of further batches to
    record; `stand_in_note` names the card taken where
    none was requested.
    """

    command: ScriptCommand
    interpreter: Interpreter
    working: Path
    limits: ScriptLimits
    batch_argument: str | None
    search: bool
    keep_allocations: bool
    keep_batches: int
    stand_in_note: str | None
    database: Path | None
    progress: Progress
