"""Options that several commands share, so that they mean the same in each.

In: the words on the command line. Out: click options, and values as the library takes them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any

import click

from planner.units import parse_seconds
from planner.workload import Precision, Scalar, StepConfig, parse_argument

DEFAULTS = StepConfig()
AT_LEAST_1 = click.IntRange(min=1)
Decorator = Callable[[Any], Any]


def words(kind: type[Enum]) -> click.ParamType[Any]:
    """One of the values of an enum, without regard to case."""
    return click.Choice([member.value for member in kind], case_sensitive=False)


def _arguments(
    context: click.Context, parameter: click.Parameter, texts: Sequence[str]
) -> dict[str, Scalar]:
    return dict(parse_argument(text) for text in texts)


def _seconds(context: click.Context, parameter: click.Parameter, text: str) -> float:
    return parse_seconds(text)


def batch(help_text: str) -> Decorator:
    """--batch, passed as batch_size."""
    return click.option(
        "--batch",
        "batch_size",
        metavar="N",
        type=AT_LEAST_1,
        default=DEFAULTS.batch_size,
        show_default=True,
        help=help_text,
    )


def precision(help_text: str) -> Decorator:
    """--precision."""
    return click.option(
        "--precision",
        type=words(Precision),
        default=DEFAULTS.precision.value,
        show_default=True,
        help=help_text,
    )


def timeout(help_text: str) -> Decorator:
    """--timeout, passed as timeout_s."""
    return click.option(
        "--timeout",
        "timeout_s",
        metavar="TIME",
        default="600",
        show_default=True,
        callback=_seconds,
        help=help_text,
    )


sequence_length = click.option(
    "--seq",
    "sequence_length",
    metavar="N",
    type=AT_LEAST_1,
    help="Length of a sequence, where build_batch takes a sequence_length; else its own default.",
)
model_arg = click.option(
    "--model-arg",
    "model_arguments",
    metavar="KEY=VALUE",
    multiple=True,
    callback=_arguments,
    help="Argument for the function or class that builds the model; repeatable.",
)
input_spec = click.option(
    "--input",
    "inputs",
    metavar="SPEC",
    multiple=True,
    help="Input without its batch dimension: 3x224x224 or ids=1024:int64; repeatable. "
    "In the place of build_batch.",
)
as_json = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON in the place of a table."
)
quiet = click.option("-q", "--quiet", is_flag=True, help="No progress on stderr.")
