"""run(): a training or inference script, unchanged, on emulated cards.

command, cards, limits
  -> the script's own Python and torch, and the emulated device for it
  -> runs of the whole command, each ended after its optimizer steps (inference: by itself); what it
     writes is thrown away
  -> Estimate
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from planner.config.options import ScriptOptions
from planner.config.parallel_words import parallel_config
from planner.config.step import Mode
from planner.errors import UsageError
from planner.estimation.request import DEFAULT_TIMEOUT_S
from planner.estimation.script import estimate_script
from planner.estimation.script_request import ScriptRequest
from planner.hardware.database import load_gpus
from planner.memory.budget import MemoryBudget, memory_budgets
from planner.memory.card_words import card_words, is_every_card, stand_ins
from planner.process.script.ends import ScriptLimits
from planner.process.script.interpreter import interpreter_of
from planner.process.script.launchers import launch_of
from planner.process.script.notebook import notebook_as_script
from planner.process.script.words import ScriptCommand, batch_place, script_command
from planner.results.estimate import Estimate
from planner.units import counted
from planner.verification.calibrated_budgets import CalibratedBudgets, calibrated_budgets
from planner.wire.script import PlayedRank

if TYPE_CHECKING:
    from typing_extensions import Unpack

DEFAULT_STEPS = 3


def run(
    command: str | Sequence[str],
    *,
    gpu: str | Sequence[str] = (),
    steps: int = DEFAULT_STEPS,
    max_batch: bool = True,
    batch_argument: str | None = None,
    num_gpus: int | None = None,
    num_hosts: int | None = None,
    allow_writes: Sequence[str | os.PathLike[str]] = (),
    keep_allocations: bool = False,
    keep_batches: int = 0,
    **options: Unpack[ScriptOptions],
) -> Estimate:
    """Runs a script on emulated cards: it believes that it trains, or infers.

    `command` is run as it is, like ["python", "train.py", "--lr", "0.1"], or the cells of a
    notebook, ["train.ipynb"]. It is ended where its optimizer begins step `steps` + 1; a script
    that trains nothing runs to its end, as one step of inference. What it writes is thrown away,
    except below the folders of `allow_writes`. `batch_argument` names the argument with the batch,
    like "--batch_size" or "batch_size=", for the largest batch; None: the first DataLoader that
    shuffles is varied, in training. With `num_gpus` it plays one of so many ranks, on
    `num_hosts` machines, as under torchrun; a launcher in the command says them itself. With
    `keep_allocations` the result holds each allocation of the recorded runs, which `Estimate.save`
    writes too; `keep_batches` runs as many batches more for it, where the batch can be varied.

    Raises:
        PlannerError: see errors.py. A script that does not fit is a result, not an error.
    """
    working = Path.cwd()
    if steps < 1:
        raise UsageError(f"steps is {steps}, and must be 1 or more")
    kept = _folders(allow_writes)
    database = options.get("hardware_db")
    records = None if database is None else Path(database)
    budgets, stand_in_note = _budgets(gpu, records, options)
    given = tuple(shlex.split(command) if isinstance(command, str) else command)
    with notebook_as_script(given, working) as words:
        asked = _command(words, given, working, batch_argument)
        asked, ranks = _of_one_rank(asked, working, num_gpus, num_hosts)
        interpreter = interpreter_of(asked.interpreter, working)
        request = ScriptRequest(
            command=asked,
            interpreter=interpreter,
            working=working,
            limits=ScriptLimits(
                steps=steps,
                timeout_s=options.get("timeout_s", DEFAULT_TIMEOUT_S),
                kept=kept,
                ranks=ranks,
            ),
            batch_argument=batch_argument,
            search=max_batch,
            keep_allocations=keep_allocations or keep_batches > 0,
            keep_batches=keep_batches,
            stand_in_note=stand_in_note,
            database=records,
            progress=options.get("on_progress") or (lambda _: None),
        )

        def known_of(mode: Mode) -> CalibratedBudgets:
            return calibrated_budgets(
                budgets,
                torch=interpreter.torch.version,
                mode=mode,
                from_history=options.get("calibration", True),
            )

        return estimate_script(request, known_of)


def _budgets(
    gpu: str | Sequence[str], records: Path | None, options: ScriptOptions
) -> tuple[list[MemoryBudget], str | None]:
    """Returns the cards; where none was asked for, the first stand-in and a note on it."""
    names = card_words(gpu)
    if is_every_card(names):
        raise UsageError("a script is run for each card: name some, as --gpu a100,h100")
    others = () if names else stand_ins(load_gpus(records)).names
    budgets = memory_budgets(
        names or others[:1],
        hardware_db=records,
        gpu_memory=options.get("gpu_memory"),
        reserve=options.get("reserve", 0),
    )
    note = f"no card was asked for: {others[0]} stands in" if others else None
    return list(budgets), note


def _command(
    words: tuple[str, ...], given: tuple[str, ...], working: Path, batch_argument: str | None
) -> ScriptCommand:
    """Returns the command; its batch argument is there, where one is named."""
    found = script_command(words, working)
    if batch_argument is not None:
        batch_place(found.words, batch_argument)
    return replace(found, given=given)


def _of_one_rank(
    command: ScriptCommand, working: Path, num_gpus: int | None, num_hosts: int | None
) -> tuple[ScriptCommand, PlayedRank | None]:
    """Returns the command of one rank of a launcher's, and the job; None: there is one GPU.

    Raises:
        UsageError: the launcher starts another number of processes, or the numbers cannot be.
    """
    asked = parallel_config(num_gpus, num_hosts, None, ())
    launch = launch_of(command.words, command.interpreter, working)
    if launch is None:
        ranks = None if asked is None else PlayedRank(gpus=asked.gpus, hosts=asked.hosts)
        return command, ranks
    if asked is not None and (asked.gpus, asked.hosts) != (launch.gpus, launch.hosts):
        raise UsageError(
            f"the launcher in the command starts {counted(launch.gpus, 'rank')} on "
            f"{counted(launch.hosts, 'machine')}, and {asked.gpus} on {asked.hosts} were asked for "
            "(--num-gpus, --num-hosts): leave the options out, or the launcher"
        )
    given = command.given or command.words
    one = replace(command, words=launch.words, given=given)
    if launch.gpus == 1:
        return one, None
    ranks = PlayedRank(gpus=launch.gpus, hosts=launch.hosts, environment=launch.environment)
    return one, ranks


def _folders(allow_writes: Sequence[str | os.PathLike[str]]) -> tuple[Path, ...]:
    """Returns the folders whose writes are kept; all of them exist."""
    found = tuple(Path(one).resolve() for one in allow_writes)
    for folder in found:
        if not folder.is_dir():
            raise UsageError(f"allow_writes names {folder}, which is no folder: make it before")
    return found
