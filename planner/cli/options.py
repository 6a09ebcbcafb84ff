"""Options that several commands share, so that they mean the same in each.

In: the words on the command line. Out: click options, and values as the library takes them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

import click

from planner.cli import completion
from planner.cli.types import BATCH, Words
from planner.cli.whole_files import check_place
from planner.config.step import (
    EMA_DECAY,
    BuildOn,
    DataDependent,
    Mode,
    OptimizerName,
    Precision,
    StepConfig,
)
from planner.config.target import Scalar, parse_argument
from planner.units import parse_seconds

DEFAULTS = StepConfig()
AT_LEAST_1 = click.IntRange(min=1)
Decorator = Callable[[Any], Any]


def words(kind: type[Enum]) -> click.ParamType[Any]:
    """One of the values of an enum, without regard to case."""
    return Words(kind)


def _arguments(
    context: click.Context, parameter: click.Parameter, texts: Sequence[str]
) -> dict[str, Scalar]:
    return dict(parse_argument(text) for text in texts)


def _seconds(context: click.Context, parameter: click.Parameter, text: str) -> float:
    return parse_seconds(text)


def _decay(context: click.Context, parameter: click.Parameter, text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        raise click.BadParameter(
            f"{text!r} is no decay between 0 and 1. What follows --ema is taken for one: write "
            f"--ema={EMA_DECAY}, or --ema at the end."
        ) from None


target = click.argument("target", shell_complete=completion.files)


def batch(help_text: str) -> Decorator:
    """--batch, passed as batch_size."""
    return click.option(
        "--batch",
        "batch_size",
        metavar="N",
        type=BATCH,
        default=DEFAULTS.batch_size,
        show_default=True,
        help=help_text,
    )


def precision(help_text: str) -> Decorator:
    """--precision."""
    return click.option(
        "--precision",
        type=words(Precision),
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


def inverted(context: click.Context, parameter: click.Parameter, given: bool) -> bool:
    """For a flag that switches something off."""
    return not given


_VALUES_OPTIONS: tuple[Decorator, ...] = (
    click.option(
        "--data-dependent",
        type=words(DataDependent),
        default=DEFAULTS.data_dependent.value,
        show_default=True,
        help="Sizes that only a card could compute: as of an untrained net, or the worst case.",
    ),
    click.option(
        "--size-at",
        "size_at",
        metavar="FILE:LINE=N",
        multiple=True,
        help="The size that is read at a line of the code, where you know it; repeatable.",
    ),
)
_STEP_OPTIONS: tuple[Decorator, ...] = (
    click.option(
        "--mode",
        type=words(Mode),
        default=DEFAULTS.mode.value,
        show_default=True,
        help="A training step, or a forward pass alone.",
    ),
    precision(
        "Dtype of weights and arithmetic; amp-* is autocast over the weights as built. Without it "
        "nothing is cast: as-built."
    ),
    click.option(
        "--optimizer",
        type=words(OptimizerName),
        help="In the place of the model file's build_optimizer; adamw if there is neither.",
    ),
    click.option(
        "--optimizer-arg",
        "optimizer_arguments",
        metavar="KEY=VALUE",
        multiple=True,
        help="Argument for --optimizer; repeatable.",
    ),
    click.option(
        "--batch-from-data",
        is_flag=True,
        help="A batch of items of the model file's build_dataset, in the place of build_batch.",
    ),
    click.option("--channels-last", is_flag=True, help="Weights and images in channels_last."),
    click.option(
        "--checkpoint-activations",
        is_flag=True,
        help="Compute activations again in backward: the model's own switch, else per block.",
    ),
    click.option(
        "--accumulate",
        metavar="N",
        type=AT_LEAST_1,
        default=DEFAULTS.accumulate,
        show_default=True,
        help="Micro-batches per optimizer step.",
    ),
    click.option(
        "--clip-grad-norm",
        metavar="X",
        type=float,
        help="torch.nn.utils.clip_grad_norm_ of all gradients to X, before the optimizer's step.",
    ),
    click.option(
        "--ema",
        metavar="[DECAY]",
        is_flag=False,
        flag_value=str(EMA_DECAY),
        callback=_decay,
        help=f"Keep a moving average of the weights, with a decay of {EMA_DECAY} if none is given.",
    ),
    click.option(
        "--no-set-to-none",
        "set_to_none",
        is_flag=True,
        callback=inverted,
        help="zero_grad(set_to_none=False): gradients stay and are filled with zeros.",
    ),
    click.option(
        "--steps",
        metavar="N",
        type=AT_LEAST_1,
        default=DEFAULTS.steps,
        show_default=True,
        help="Steps to run; the first ones take less memory than the later ones.",
    ),
    *_VALUES_OPTIONS,
    click.option(
        "--build-on",
        type=words(BuildOn),
        help="Where the model is constructed; by default where it costs no host memory.",
    ),
)


def step_options(command: Any) -> Any:
    """The options of a step that estimate and verify share."""
    for option in reversed(_STEP_OPTIONS):
        command = option(command)
    return command


def values_options(command: Any) -> Any:
    """How values that only a card could compute decide; inspect has these too."""
    for option in reversed(_VALUES_OPTIONS):
        command = option(command)
    return command


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
gpu_memory = click.option(
    "--gpu-memory",
    metavar="SIZE",
    help="Memory of the card, like 24GiB (at most 16 TiB), in the place of its record's.",
)
reserve = click.option(
    "--reserve",
    metavar="SIZE|%",
    default="0",
    help="Memory to keep free, like 1GiB or 5%.",
)
no_calibration = click.option(
    "--no-calibration",
    "calibration",
    is_flag=True,
    callback=inverted,
    help="Do not correct the figures by past verifications (`planner history`).",
)
alloc_conf = click.option(
    "--alloc-conf", metavar="TEXT", help="PYTORCH_CUDA_ALLOC_CONF for the run."
)


def _in_a_folder(
    context: click.Context, parameter: click.Parameter, file: Path | None
) -> Path | None:
    """A file to write, refused before minutes are spent on what it is for."""
    if file is not None:
        check_place(file, "--csv")
    return file


as_csv = click.option(
    "--csv",
    "csv_file",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    callback=_in_a_folder,
    help="Write the figures to FILE as CSV as well.",
)
hardware_db = click.option(
    "--hardware-db",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Your own records, on top of ours: *.yaml of cards, cpus/*.yaml, hosts/*.yaml.",
)
as_json = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON in the place of a table."
)
quiet = click.option("-q", "--quiet", is_flag=True, help="No progress on stderr.")
