"""The options for a job on several GPUs.

In: the words on the command line. Out: options under the names of ParallelOptions. Convention: an
option that was not given is left out, so that only the library has the defaults.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from planner.cli.options import AT_LEAST_1, only_given
from planner.config.parallel_words import NAMES

num_hosts = click.option(
    "--num-hosts",
    metavar="N",
    type=AT_LEAST_1,
    show_default="as few as have at most 8 GPUs",
    help="Machines, with equally many GPUs each, like 4.",
)

_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.option(
        "--num-gpus",
        metavar="N",
        type=AT_LEAST_1,
        show_default="1, or the product of the degrees of --parallel",
        help="GPUs of the whole job, like 8; the figures are those of one of them.",
    ),
    num_hosts,
    click.option(
        "--parallel",
        metavar="WORDS",
        show_default="ddp on several GPUs; parallelize of the model file comes first",
        help="fsdp, hsdp=2x8, ddp, zero1, tp=4, pp=4,1f1b, or several, like fsdp=8,tp=4.",
    ),
    click.option(
        "--microbatches",
        metavar="N",
        type=AT_LEAST_1,
        show_default="twice the ranks of pp",
        help="Micro-batches of --batch samples in a step of a pipeline, like 16.",
    ),
    click.option(
        "--parallel-arg",
        "parallel_arguments",
        metavar="KEY=VALUE",
        multiple=True,
        show_default="those of PyTorch",
        help="Knob of --parallel, like reshard_after_forward=false; repeatable.",
    ),
)


def parallel_options(command: Callable[..., Any]) -> Any:
    """Adds the options to a command, which is called without those not given."""
    return only_given(NAMES, _OPTIONS)(command)


def ranks_of_a_script(command: Callable[..., Any]) -> Any:
    """Adds the options on GPUs and machines alone: a script spreads itself."""
    return only_given(NAMES[:2], _OPTIONS[:2])(command)
