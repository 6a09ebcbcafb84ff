"""`planner verify TARGET`: the largest batch for real, and how good the prediction was."""

from __future__ import annotations

from typing import Any

import click

import planner
from planner.cli import completion
from planner.cli import options as shared
from planner.cli.exit_codes import ExitCode
from planner.cli.options import AT_LEAST_1
from planner.cli.output import print_result
from planner.cli.progress import shown_progress
from planner.cli.step_command import StepCommand, no_config
from planner.memory.card_words import OWN_CARD

_EXIT_CODES = """\b
Exit codes:
  0  done, and the prediction is confirmed
  1  error: the model's code, this machine, the build of the emulated device
  2  wrong usage: an option, a value, an unknown card
  4  done, and not confirmed: outside --tolerance, a largest batch predicted above the measured
     one, or a search that had to stop
The report or the JSON goes to stdout: complete with 0 and 4, empty with 1 and 2.
"""


@click.command(cls=StepCommand, epilog=_EXIT_CODES)
@shared.target
@click.option(
    "--emulated",
    metavar="NAME",
    shell_complete=completion.cards(OWN_CARD),
    help="An emulated card in the place of a physical one, like a100; no GPU is needed.",
)
@click.option(
    "--device",
    metavar="NAME",
    help="cpu, cuda or cuda:N; the first card that is visible when neither is given.",
)
@click.option(
    "--memory",
    metavar="SIZE",
    help="With --device cpu: the RAM that the run may take, like 3GiB; else what is available.",
)
@click.option(
    "--safety",
    metavar="SIZE|%",
    default="0",
    help="Memory to keep free while it is searched and predicted, like 1GiB or 5%.",
)
@click.option(
    "--tolerance",
    metavar="%",
    default="3%",
    show_default=True,
    help="By how much the predicted device total may be off.",
)
@click.option("--max-batch", metavar="N", type=AT_LEAST_1, help="Try no batch beyond this one.")
@shared.batch("Batch at which the step is first looked at; the search does not depend on it.")
@shared.sequence_length
@shared.step_options
@shared.model_arg
@shared.input_spec
@click.option(
    "--alloc-conf",
    metavar="TEXT",
    help="PYTORCH_CUDA_ALLOC_CONF for the runs.",
)
@shared.timeout("Longest wait for loading the model and for each probe: seconds, 10m or 1h.")
@shared.hardware_db
@no_config
@shared.as_json
@shared.quiet
@click.pass_context
def verify(
    context: click.Context, /, target: str, as_json: bool, quiet: bool, **options: Any
) -> None:
    """Search the largest batch of TARGET for real and compare it with the prediction.

    Each probe runs full steps in a process of its own, on a physical GPU, on the CPU under a limit
    of memory, or on an emulated card. TARGET is that of planner estimate.
    """
    with shown_progress(quiet) as progress:
        found = planner.verify(target, on_progress=progress, **options)
    print_result(found, "verification", as_json=as_json)
    context.exit(ExitCode.FITS if found.is_confirmed else ExitCode.NOT_CONFIRMED)
