"""Options of data, host and money, shared by every command that predicts a time.

In: the words on the command line. Out: options under the names of job_config. Convention: an
option that was not given is left out, so that only the library has the defaults.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from planner.cli import completion
from planner.cli import options as shared
from planner.cli.task_options import task_options
from planner.estimation.job import NAMES
from planner.input_pipeline.loader import NO_WORKERS


def _workers(
    context: click.Context, parameter: click.Parameter, given: str | None
) -> int | str | None:
    """Returns the number of workers, or the word of job_config for no workers."""
    if given is None or given.strip().lower() == NO_WORKERS:
        return given
    try:
        return int(given)
    except ValueError:
        raise click.BadParameter(
            f"{given!r} is neither a whole number nor {NO_WORKERS!r}."
        ) from None


def _if_given(context: click.Context, parameter: click.Parameter, given: bool) -> bool | None:
    return True if given else None


def _off_if_given(context: click.Context, parameter: click.Parameter, given: bool) -> bool | None:
    return False if given else None


DATASET_SIZE_DEFAULT = "no epoch is counted; compare: 1.28M"
_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.option(
        "--data",
        metavar="ITEM",
        show_default="the input is not counted",
        help="What a worker prepares: imagenet-jpeg, tokens, tensor, or milliseconds per item.",
    ),
    click.option(
        "--measure-data",
        is_flag=True,
        callback=_if_given,
        help="Time items of the model file's build_dataset on this machine, in place of --data.",
    ),
    click.option(
        "--workers",
        metavar="N",
        callback=_workers,
        show_default="cores of the host, at most 8; 4 without one",
        help="Workers of the DataLoader, like 8, or none.",
    ),
    click.option(
        "--prefetch-factor",
        metavar="N",
        type=click.IntRange(min=1),
        show_default="2, as in torch",
        help="Batches that each worker prepares ahead, like 4.",
    ),
    click.option(
        "--no-pin-memory",
        "pin_memory",
        is_flag=True,
        callback=_off_if_given,
        help="Batches are not pinned: their copies to the card are slower.",
    ),
    click.option(
        "--cpu",
        metavar="NAME",
        shell_complete=completion.cpus,
        show_default="none",
        help="Processor of the host, like epyc-7742. `planner cpus` lists them.",
    ),
    click.option(
        "--host",
        metavar="NAME",
        shell_complete=completion.hosts,
        show_default="none",
        help="Host, like p4d.24xlarge, or this. `planner hosts` lists them.",
    ),
    click.option(
        "--ram",
        metavar="SIZE",
        show_default="that of --host",
        help="RAM that the job may take, like 64GiB.",
    ),
    click.option(
        "--price",
        metavar="PRICE",
        show_default="rents of --host or of the card's record",
        help="Rent of the card, like '2.49 USD/h'.",
    ),
    click.option(
        "--prices",
        metavar="WORD",
        show_default="none",
        help="Rents of a catalogue on this machine: sky or gpuhunt, with a place like sky:DIR.",
    ),
    click.option(
        "--dataset-size",
        metavar="N",
        show_default=DATASET_SIZE_DEFAULT,
        help="Samples in an epoch, like 50000 or 1.28M.",
    ),
    click.option(
        "--pue",
        metavar="RATIO",
        type=float,
        show_default="1",
        help="Power of the building over that of its machines, like 1.2.",
    ),
    click.option(
        "--power-limit",
        metavar="W",
        type=float,
        show_default="that of the card as shipped",
        help="Power limit of the card in watts, like 300: it is slower then.",
    ),
)


speed_options = shared.only_given(NAMES, _OPTIONS)


_CARD_STEP: tuple[Callable[[Any], Any], ...] = (
    shared.sequence_length,
    shared.step_options,
    task_options,
    shared.model_arg,
    shared.input_spec,
    speed_options,
    shared.gpu_memory,
    shared.reserve,
    shared.alloc_conf,
    shared.no_calibration,
    shared.timeout(
        "Longest wait for loading the model and for each run: seconds, like 900, or 1h."
    ),
    shared.no_cache,
    shared.hardware_db,
    shared.as_csv,
    shared.save,
    shared.plot,
    shared.as_json,
    shared.verbose,
    shared.quiet,
)


def card_step_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options that curve and compare share: of the step, its card and the output."""
    for option in reversed(_CARD_STEP):
        command = option(command)
    return command
