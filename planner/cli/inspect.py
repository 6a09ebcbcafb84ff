"""`planner inspect TARGET`: the cost of a training step by module, as a table or as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

import planner
from planner.cli import completion
from planner.cli import options as shared
from planner.cli.output import plot, print_result, save
from planner.cli.progress import shown_progress
from planner.cli.step_command import StepCommand, no_config
from planner.cli.task_options import task_options
from planner.memory.card_words import OWN_CARD

_EXAMPLES = (
    "planner inspect models/resnet50.py",
    "planner inspect models/gpt2.py --depth 3 --seq 512",
)


@click.command(cls=StepCommand, examples=_EXAMPLES)
@shared.target
@shared.batch("Samples in a batch, like 32.")
@shared.sequence_length
@click.option(
    "--depth",
    metavar="N",
    type=click.IntRange(min=0),
    default=2,
    show_default=True,
    help="Levels of modules to show, like 3; 0 is the model alone.",
)
@shared.precision("Dtype of weights and arithmetic, like bf16; it moves bytes, and no FLOPs.")
@shared.values_options
@task_options
@shared.model_arg
@shared.input_spec
@click.option(
    "--gpu",
    metavar="NAME",
    shell_complete=completion.cards(OWN_CARD),
    default="a100-sxm4-80gb",
    show_default=True,
    help="Card whose kernels are taken, like t4, or auto: this machine's; it moves what they "
    "save, and no FLOPs.",
)
@shared.timeout("Longest wait for loading the model and for counting: seconds, like 900, or 1h.")
@shared.no_cache
@shared.save
@shared.plot
@no_config
@shared.as_json
@shared.verbose
@shared.quiet
def inspect(
    target: str,
    save_file: Path | None,
    plot_file: Path | None,
    as_json: bool,
    verbose: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Count what a step costs, module by module.

    Parameters, FLOPs of the forward, activations, bytes saved for backward, arithmetic intensity.
    TARGET is a model file (models/gpt2.py), a function or class in it (models/llama.py:llama_1b)
    or in an installed package (torchvision.models:resnet50, with --input 3x224x224).
    """
    with shown_progress(quiet) as progress:
        found = planner.inspect(target, on_progress=progress, **options)
    print_result(found, "inspect", as_json=as_json, verbose=verbose)
    save(found, save_file)
    plot(found, plot_file)
