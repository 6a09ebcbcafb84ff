"""`planner advise TARGET --gpu NAME`: changes that make a step fit, tried on the emulated card."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

import planner
from planner.cli import options as shared
from planner.cli.exit_codes import PLAN_CODES, fits_or_not
from planner.cli.output import print_result, save
from planner.cli.speed_options import speed_options
from planner.cli.step_command import StepCommand, no_config
from planner.cli.task_options import task_options
from planner.cli.trial_table import shown_trials
from planner.results.advice import Goal

_EXAMPLES = (
    "planner advise models/resnet50.py --gpu rtx3090 --batch 1024",
    "planner advise models/gpt2.py --gpu t4 --batch 64 --goal largest-batch",
    "planner advise models/gpt2.py --gpu rtx4090 --batch 64 --budget 60s",
)


@click.command(cls=StepCommand, examples=_EXAMPLES, epilog=PLAN_CODES)
@shared.target
@shared.one_card
@click.option(
    "--goal",
    type=shared.words(Goal),
    default=Goal.FIT.value,
    show_default=True,
    help="The smallest change that fits, or the best of this kind.",
)
@click.option(
    "--budget",
    metavar="TIME",
    show_default="none",
    help="Time in which trials may begin: seconds, like 60s, or 5m; the most promising are first.",
)
@click.option(
    "--try",
    "tries",
    metavar="NAME",
    multiple=True,
    show_default="none",
    help="A lever that is tried on request, or where nothing else fits; repeatable.",
)
@shared.batch("Samples in a batch, like 32; with --accumulate, in one micro-batch.")
@shared.sequence_length
@shared.step_options
@task_options
@shared.model_arg
@shared.input_spec
@speed_options
@shared.gpu_memory
@shared.reserve
@shared.alloc_conf
@shared.no_calibration
@shared.timeout("Longest wait for loading the model and for each run: seconds, like 900, or 1h.")
@shared.hardware_db
@shared.save
@no_config
@shared.as_json
@shared.verbose
@shared.quiet
@click.pass_context
def advise(
    context: click.Context,
    /,
    target: str,
    save_file: Path | None,
    as_json: bool,
    verbose: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Try changes that make a step fit, and say which to take.

    Each change is run on the emulated card: the bytes that it saves, the largest batch with it, the
    time that it costs, what it may do to training, and the flags or lines of code.
    """
    with shown_trials(quiet) as (progress, on_trial):
        found = planner.advise(target, on_progress=progress, on_trial=on_trial, **options)
    print_result(found, "advise", as_json=as_json, verbose=verbose)
    save(found, save_file)
    context.exit(fits_or_not(found.fits))
