"""`planner verify TARGET`: the largest batch for real, and how good the prediction was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

import planner
from planner.cli import completion
from planner.cli import options as shared
from planner.cli.exit_codes import ExitCode
from planner.cli.options import AT_LEAST_1
from planner.cli.output import print_result, save
from planner.cli.progress import shown_progress
from planner.cli.step_command import StepCommand, no_config
from planner.cli.task_options import task_options
from planner.memory.card_words import OWN_CARD

_EXAMPLES = (
    "planner verify models/mlp.py --emulated t4",
    "planner verify models/resnet50.py --device cuda:0 --reserve 1GiB",
    "planner verify models/mlp.py --device cpu --memory 3GiB",
)
_EXIT_CODES = """\b
Exit codes:
  0  done, and the prediction is confirmed
  1  error: the model's code, this machine, the build of the emulated device
  2  wrong usage: an option, a value, an unknown card
  4  done, and not confirmed: outside --tolerance, a largest batch predicted above the measured
     one, or a search that had to stop
The report or the JSON goes to stdout: complete with 0 and 4, empty with 1 and 2.
"""


@click.command(cls=StepCommand, examples=_EXAMPLES, epilog=_EXIT_CODES)
@shared.target
@click.option(
    "--emulated",
    metavar="NAME",
    shell_complete=completion.cards(OWN_CARD),
    show_default="a physical card",
    help="An emulated card in place of a physical one, like a100; no GPU is needed.",
)
@click.option(
    "--device",
    metavar="NAME",
    show_default="the first visible card",
    help="What to run on, like cuda:0, or cpu.",
)
@click.option(
    "--memory",
    metavar="SIZE",
    show_default="what is available",
    help="With --device cpu: the RAM that the run may take, like 3GiB.",
)
@shared.reserve
@click.option(
    "--tolerance",
    metavar="%",
    default="3%",
    show_default=True,
    help="By how much the predicted device total may be off, like 5%.",
)
@click.option(
    "--max-batch",
    metavar="N",
    type=AT_LEAST_1,
    show_default="no limit",
    help="Try no batch beyond this one, like 512.",
)
@shared.batch(
    "Batch at which the step is first looked at, like 4; the search does not depend on it."
)
@shared.sequence_length
@shared.step_options
@task_options
@shared.model_arg
@shared.input_spec
@shared.alloc_conf
@shared.timeout("Longest wait for loading the model and for each probe: seconds, like 900, or 1h.")
@shared.hardware_db
@shared.save
@no_config
@shared.as_json
@shared.verbose
@shared.quiet
@click.pass_context
def verify(
    context: click.Context,
    /,
    target: str,
    save_file: Path | None,
    as_json: bool,
    verbose: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Search the largest batch for real, and compare the prediction.

    Each probe runs full steps in a process of its own, on a physical GPU, on the CPU under a limit
    of memory, or on an emulated card. TARGET is that of planner estimate.
    """
    with shown_progress(quiet) as progress:
        found = planner.verify(target, on_progress=progress, **options)
    print_result(found, "verification", as_json=as_json, verbose=verbose)
    save(found, save_file)
    context.exit(ExitCode.FITS if found.is_confirmed else ExitCode.NOT_CONFIRMED)
