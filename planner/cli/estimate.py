"""`planner estimate TARGET --gpu NAME`: the answer as a table or as JSON on stdout."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

import planner
from planner.cli import completion
from planner.cli import options as shared
from planner.cli.exit_codes import exit_code
from planner.cli.output import plot, save
from planner.cli.output_format import chosen_format, is_request, output_format, print_in_format
from planner.cli.parallel_options import parallel_options
from planner.cli.progress import shown_progress
from planner.cli.repeat import report_kept
from planner.cli.speed_options import speed_options
from planner.cli.step_command import StepCommand, no_config
from planner.cli.task_options import task_options
from planner.config.generation import SearchedSize
from planner.errors import UsageError
from planner.memory.card_words import ALL_CARDS, DEFAULT_CARDS, OWN_CARD

_EXAMPLES = (
    "planner estimate models/resnet50.py --gpu a100",
    "planner estimate models/gpt2.py --gpu t4 --gpu l4 --precision amp-fp16",
    "planner estimate torchvision.models:resnet18 --input 3x224x224 --gpu l4",
)
_EXIT_CODES = """\b
Exit codes:
  0  done, and the step fits on every card asked for
  1  error: the model's code, this machine, the build of the emulated device
  2  wrong usage: an option, a value, an unknown card
  3  done, and the step does not fit on at least one card asked for (--gpu all, or none: on none)
The report or the JSON goes to stdout: complete with 0 and 3, empty with 1 and 2.
Progress, errors and whatever the model prints go to stderr.
"""


@click.command(cls=StepCommand, examples=_EXAMPLES, epilog=_EXIT_CODES)
@shared.target
@click.option(
    "--gpu",
    metavar="NAME",
    multiple=True,
    shell_complete=completion.cards(OWN_CARD, ALL_CARDS, several=True),
    help="Card to ask about, like a100, or several: a100,t4; repeatable. auto is this machine's, "
    "all is every one; `planner gpus` lists them. Without it the cards of --host, else this "
    f"machine's, else {', '.join(DEFAULT_CARDS[:-1])} and {DEFAULT_CARDS[-1]}.",
)
@click.option(
    "--device",
    type=click.Choice(["cpu"]),
    show_default="a card",
    help="cpu in place of a card: some small steps are run on this CPU.",
)
@click.option(
    "--memory",
    metavar="SIZE",
    show_default="what is free",
    help="With --device cpu: the RAM that the process may take, like 16GiB.",
)
@shared.batch("Samples in a batch, like 32; with --accumulate, in one micro-batch.")
@shared.sequence_length
@shared.step_options
@parallel_options
@task_options
@shared.model_arg
@shared.input_spec
@shared.gpu_memory
@shared.reserve
@click.option(
    "--alloc-conf",
    metavar="TEXT",
    multiple=True,
    show_default=shared.ALLOC_CONF_DEFAULT,
    help="PYTORCH_CUDA_ALLOC_CONF for the run, like expandable_segments:True; repeatable: others "
    "are compared without a run.",
)
@click.option(
    "--no-max-batch",
    "max_batch",
    is_flag=True,
    callback=shared.inverted,
    help="Do not search the largest batch.",
)
@click.option(
    "--largest",
    type=shared.words(SearchedSize),
    multiple=True,
    show_default="not searched",
    help="Search the largest image or clip of a pipeline too, from --image or --frames on, like "
    "--largest image; repeatable.",
)
@shared.no_calibration
@speed_options
@shared.timeout("Longest wait for loading the model and for each run: seconds, like 900, or 1h.")
@shared.no_cache
@shared.hardware_db
@shared.save
@shared.plot
@output_format
@no_config
@shared.as_json
@shared.verbose
@shared.quiet
@click.pass_context
def estimate(
    context: click.Context,
    /,
    target: str,
    save_file: Path | None,
    plot_file: Path | None,
    output_format: str | None,
    as_json: bool,
    verbose: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Say whether a step fits on a card, how large a batch, how fast.

    TARGET is a model file (models/gpt2.py), a function or class in it (models/llama.py:llama_1b)
    or in an installed package (torchvision.models:resnet50, with --input 3x224x224).
    """
    chosen = chosen_format(output_format, as_json=as_json)
    if is_request(chosen) and options["device"] is not None:
        raise UsageError(f"--format {chosen} requests a card: leave --device cpu out")
    with report_kept(context) as keeping:
        with shown_progress(quiet) as progress:
            found = planner.estimate(
                target,
                on_progress=progress,
                keep_allocations=verbose or bool(save_file or plot_file),
                **options,
            )
        reported = replace(found, batches=())  # they are many, and in no report
        print_in_format(reported, "estimate", chosen, verbose=verbose)
        keeping.code = exit_code(found)
    save(found, save_file)
    plot(found, plot_file)
    context.exit(exit_code(found))
