"""`planner curve TARGET --gpu NAME`: throughput and memory against the batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

import planner
from planner.cli import options as shared
from planner.cli.exit_codes import fits_or_not
from planner.cli.output import plot, print_result, save
from planner.cli.progress import shown_progress
from planner.cli.speed_options import card_step_options
from planner.cli.step_command import StepCommand, no_config
from planner.machine.whole_files import write_whole

_EXAMPLES = (
    "planner curve models/resnet50.py --gpu a100",
    "planner curve models/gpt2.py --gpu rtx4090 --seq 512 --batches 1,4,16,64",
    "planner curve models/resnet50.py --gpu a100 --global-batch 1024",
)
_EXIT_CODES = """\b
Exit codes:
  0  done, and at least one batch of the curve fits
  1  error: the model's code, this machine, the build of the emulated device
  2  wrong usage: an option, a value, an unknown card
  3  done, and no batch of the curve fits
"""


def _batches(
    context: click.Context, parameter: click.Parameter, text: str | None
) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise click.BadParameter(f"{text!r} is not a list of batches like 1,8,64") from None


@click.command(cls=StepCommand, examples=_EXAMPLES, epilog=_EXIT_CODES)
@shared.target
@shared.one_card
@click.option(
    "--batches",
    metavar="N,N,...",
    callback=_batches,
    show_default="powers of two, the largest that fits and --batch",
    help="Batches of the curve, like 1,8,64.",
)
@click.option(
    "--global-batch",
    metavar="N",
    type=shared.AT_LEAST_1,
    show_default="none",
    help="Batch to keep by accumulating, like 1024: the recommendation says how.",
)
@shared.batch("Batch that is run and recorded, like 32; a point of the curve.")
@card_step_options
@no_config
@click.pass_context
def curve(
    context: click.Context,
    /,
    target: str,
    save_file: Path | None,
    plot_file: Path | None,
    as_json: bool,
    csv_file: Path | None,
    verbose: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Say how fast and how large a step is at each batch on one card.

    Throughput, memory, what it waits for, energy and cost; the knee, and which batch to take.
    """
    with shown_progress(quiet) as progress:
        found = planner.curve(target, on_progress=progress, **options)
    print_result(found, "curve", as_json=as_json, verbose=verbose)
    save(found, save_file)
    plot(found, plot_file)
    if csv_file is not None:  # last: a disk that is full must not cost the table
        write_whole(csv_file, found.to_csv())
    context.exit(fits_or_not(any(point.fits for point in found.points)))
