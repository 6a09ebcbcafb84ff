"""`planner inspect TARGET`: what a training step costs, by module, as a table or as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import click

import planner
from planner.cli.progress import shown_progress
from planner.units import parse_seconds
from planner.workload import Precision, Scalar, StepConfig, parse_argument

_DEFAULT = StepConfig()


def _arguments(
    context: click.Context, parameter: click.Parameter, texts: Sequence[str]
) -> dict[str, Scalar]:
    return dict(parse_argument(text) for text in texts)


def _seconds(context: click.Context, parameter: click.Parameter, text: str) -> float:
    return parse_seconds(text)


@click.command()
@click.argument("target")
@click.option(
    "--batch",
    "batch_size",
    metavar="N",
    type=click.IntRange(min=1),
    default=_DEFAULT.batch_size,
    show_default=True,
    help="Samples in a batch.",
)
@click.option(
    "--depth",
    metavar="N",
    type=click.IntRange(min=0),
    default=2,
    show_default=True,
    help="Levels of modules to show; 0 is the model alone.",
)
@click.option(
    "--precision",
    type=click.Choice([member.value for member in Precision], case_sensitive=False),
    default=_DEFAULT.precision.value,
    show_default=True,
    help="Dtype of weights and arithmetic; it moves bytes, and no FLOPs.",
)
@click.option(
    "--model-arg",
    "model_arguments",
    metavar="KEY=VALUE",
    multiple=True,
    callback=_arguments,
    help="Argument for the function or class that builds the model; repeatable.",
)
@click.option(
    "--input",
    "inputs",
    metavar="SPEC",
    multiple=True,
    help="Input without its batch dimension: 3x224x224 or ids=1024:int64; repeatable. "
    "In the place of build_batch.",
)
@click.option(
    "--gpu",
    metavar="NAME",
    default="a100-sxm4-80gb",
    show_default=True,
    help="Card whose kernels are taken; it moves what they save for backward, and no FLOPs.",
)
@click.option(
    "--timeout",
    "timeout_s",
    metavar="TIME",
    default="600",
    show_default=True,
    callback=_seconds,
    help="Longest wait for loading the model and for counting: seconds, 10m or 1h.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON in the place of a table.")
@click.option("-q", "--quiet", is_flag=True, help="No progress on stderr.")
def inspect(target: str, as_json: bool, quiet: bool, **options: Any) -> None:
    """Count what a training step of TARGET costs, module by module.

    Parameters, FLOPs of the forward, activations, bytes saved for backward, arithmetic intensity.
    TARGET is a model file (models/gpt2.py), a function or class in it (models/llama.py:llama_1b)
    or in an installed package (torchvision.models:resnet50, with --input 3x224x224).
    """
    with shown_progress(quiet) as progress:
        found = planner.inspect(target, on_progress=progress, **options)
    if as_json:
        click.echo(json.dumps(found.to_dict(), indent=2))
    else:
        from planner.cli.output import print_renderable
        from planner.report.inspect import render

        print_renderable(render(found))
