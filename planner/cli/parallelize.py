"""`planner parallelize TARGET --gpu NAME --num-gpus N`: which strategy on several GPUs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

import planner
from planner.cli import options as shared
from planner.cli.exit_codes import PLAN_CODES, fits_or_not
from planner.cli.output import print_result, save
from planner.cli.parallel_options import num_hosts
from planner.cli.progress import shown_progress
from planner.cli.speed_options import speed_options
from planner.cli.step_command import StepCommand, no_config
from planner.cli.task_options import task_options
from planner.results.parallelization import PreferBy, SpreadTrial
from planner.units import format_bytes, format_significant

_EXAMPLES = (
    "planner parallelize models/llama.py --gpu a100 --num-gpus 8 --precision amp-bf16",
    "planner parallelize models/llama.py:llama_8b --gpu h100 --num-gpus 32 --num-hosts 4 "
    "--global-batch 512",
    "planner parallelize models/gpt2.py --gpu l4 --num-gpus 4 --by cost",
)


@click.command(cls=StepCommand, examples=_EXAMPLES, epilog=PLAN_CODES)
@shared.target
@shared.one_card
@click.option(
    "--num-gpus",
    metavar="N",
    type=shared.AT_LEAST_1,
    required=True,
    help="GPUs of the whole job, like 8.",
)
@num_hosts
@click.option(
    "--global-batch",
    metavar="N",
    type=shared.AT_LEAST_1,
    show_default="as many as fit",
    help="Samples of an optimizer step of all GPUs, like 512; micro-batches make it up.",
)
@click.option(
    "--by",
    type=shared.words(PreferBy),
    default=PreferBy.TIME.value,
    show_default=True,
    help="The fastest, or the cheapest, which may leave GPUs out.",
)
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
def parallelize(
    context: click.Context,
    /,
    target: str,
    save_file: Path | None,
    as_json: bool,
    verbose: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Search how to spread a step over several GPUs.

    Strategies, degrees, micro-batch and checkpointing are compared by arithmetic; the best are run.
    Printed are the plan as a command and as code, the runner-up, why others fell out, and the
    fewest of these cards that fit.
    """
    with shown_progress(quiet) as progress:

        def on_spread(trial: SpreadTrial) -> None:
            progress(f"tried: {spread_words(trial)}")

        found = planner.parallelize(target, on_progress=progress, on_spread=on_spread, **options)
    print_result(found, "parallelize", as_json=as_json, verbose=verbose)
    save(found, save_file)
    context.exit(fits_or_not(found.fits))


def spread_words(trial: SpreadTrial) -> str:
    """Returns a spread that was run, on one line."""
    words = [f"{trial.words}: {trial.state.value}"]
    if trial.device_total_bytes is not None:
        words.append(format_bytes(trial.device_total_bytes))
    if trial.samples_per_s is not None:
        words.append(f"{format_significant(trial.samples_per_s)} samples/s")
    return ", ".join(words)
