"""`planner run -- python train.py`: a script, unchanged, on an emulated card."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import click

import planner
from planner.cli import completion
from planner.cli import options as shared
from planner.cli.exit_codes import exit_code
from planner.cli.grouped_help import GroupedCommand
from planner.cli.output import plot, print_result, save
from planner.cli.parallel_options import ranks_of_a_script
from planner.cli.progress import shown_progress
from planner.cli.terminal import say
from planner.questions.run import DEFAULT_STEPS

_EXAMPLES = (
    "planner run --gpu h100 -- python train.py --lr 0.1",
    "planner run --gpu a100 --batch-arg --batch_size -- python train.py --batch_size 8",
    "planner run --gpu t4 --steps 5 -- accelerate launch train.py",
    "planner run --gpu t4 -- python generate.py",
)
_EXIT_CODES = """\b
Exit codes:
  0  done, and the script fits on every card asked for
  1  error: the script, this machine, the build of the emulated device
  2  wrong usage: an option, a value, an unknown card, a command that cannot be run
  3  done, and the script does not fit on at least one card asked for
The exit code of the script itself is never passed on.
"""
_BANNER = (
    "planner run: the card is emulated. Nothing is trained, and what the script writes is lost"
)


@click.command(
    cls=GroupedCommand,
    examples=_EXAMPLES,
    epilog=_EXIT_CODES,
    context_settings={"allow_interspersed_args": False},
)
@click.argument("command", metavar="[--] COMMAND ...", nargs=-1, type=click.UNPROCESSED)
@click.option(
    "--gpu",
    metavar="NAME",
    multiple=True,
    shell_complete=completion.cards(several=True),
    help="Card to run on, like a100, or several: a100,t4; repeatable. The script is run for each.",
)
@shared.gpu_memory
@shared.reserve
@click.option(
    "--batch-arg",
    "batch_argument",
    metavar="NAME",
    show_default="the first DataLoader that shuffles is varied",
    help="Argument of the command that holds the batch, like --batch_size or batch_size=.",
)
@click.option(
    "--no-max-batch",
    "max_batch",
    is_flag=True,
    callback=shared.inverted,
    help="Do not search the largest batch.",
)
@click.option(
    "--steps",
    metavar="N",
    type=shared.AT_LEAST_1,
    default=DEFAULT_STEPS,
    show_default=True,
    help="Optimizer steps to run; the script is ended where the next one begins.",
)
@ranks_of_a_script
@click.option(
    "--allow-writes",
    metavar="DIR",
    multiple=True,
    show_default="nothing that it writes is kept",
    help="Folder in which the script's writes are kept, like ./out; repeatable; / allows all.",
)
@shared.no_calibration
@shared.timeout("Longest time of one run of the script: seconds, like 900, or 1h.")
@shared.hardware_db
@shared.save
@shared.plot
@shared.as_json
@shared.verbose
@shared.quiet
@click.pass_context
def run(
    context: click.Context,
    /,
    command: tuple[str, ...],
    save_file: Path | None,
    plot_file: Path | None,
    as_json: bool,
    verbose: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Run a script, unchanged, on an emulated card.

    COMMAND is run as it is, from here, in its own Python: it believes that it trains. After some
    optimizer steps it is ended, and the report is that of `planner estimate`. A script that trains
    nothing runs to its end, as one step of inference. A notebook (train.ipynb) is run cell by cell.
    """
    # without a command nothing is run
    with _announced() if command else nullcontext(), shown_progress(quiet) as progress:
        found = planner.run(
            command,
            on_progress=progress,
            keep_allocations=verbose or bool(save_file or plot_file),
            **options,
        )
    print_result(found, "estimate", as_json=as_json, verbose=verbose)
    save(found, save_file)
    plot(found, plot_file)
    context.exit(exit_code(found))


@contextmanager
def _announced() -> Iterator[None]:
    """Says first and last that the run is no training."""
    say(f"[{_BANNER}]")
    try:
        yield
    finally:
        say(f"[{_BANNER}]")
