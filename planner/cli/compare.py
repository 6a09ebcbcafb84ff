"""`planner compare TARGET`: cards ranked by time, cost or energy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

import planner
from planner.cli import completion
from planner.cli import options as shared
from planner.cli.exit_codes import fits_or_not
from planner.cli.output import plot, print_result, save
from planner.cli.progress import shown_progress
from planner.cli.speed_options import card_step_options
from planner.cli.step_command import StepCommand, no_config
from planner.cli.types import BATCH
from planner.machine.whole_files import write_whole
from planner.memory.card_words import ALL_CARDS, OWN_CARD
from planner.results.comparison import RankBy

_EXAMPLES = (
    "planner compare models/resnet50.py --gpu a100 --gpu h100 --gpu l4",
    "planner compare models/resnet50.py --by cost --dataset-size 1.28M",
)
_EXIT_CODES = """\b
Exit codes:
  0  done, and the step fits on at least one card
  1  error: the model's code, this machine, the build of the emulated device
  2  wrong usage: an option, a value, an unknown card
  3  done, and the step fits on none
"""


@click.command(cls=StepCommand, examples=_EXAMPLES, epilog=_EXIT_CODES)
@shared.target
@click.option(
    "--gpu",
    metavar="NAME",
    multiple=True,
    shell_complete=completion.cards(OWN_CARD, ALL_CARDS, several=True),
    default=("all",),
    show_default="all",
    help="Card to compare, like a100, or several: a100,t4; repeatable. auto is this "
    "machine's, all is every one; `planner gpus` lists them.",
)
@click.option(
    "--by",
    type=shared.words(RankBy),
    default=RankBy.TIME.value,
    show_default=True,
    help="What the best card is best at: samples a second, rent or energy of an epoch.",
)
@click.option(
    "--batch",
    "batch_size",
    metavar="N",
    type=BATCH,
    show_default="each card's own, near its best throughput",
    help="Batch on every card, like 32.",
)
@card_step_options
@no_config
@click.pass_context
def compare(
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
    """Rank cards for a step: by time, cost or energy.

    For each card: does it fit, the largest batch, the time of a step, and what an epoch takes in
    hours, kWh and money. An epoch is --dataset-size samples, else 1.28M.
    """
    with shown_progress(quiet) as progress:
        found = planner.compare(target, on_progress=progress, **options)
    print_result(found, "comparison", as_json=as_json, verbose=verbose)
    save(found, save_file)
    plot(found, plot_file)
    if csv_file is not None:  # last: a disk that is full must not cost the table
        write_whole(csv_file, found.to_csv())
    context.exit(fits_or_not(any(card.fits for card in found.cards)))
