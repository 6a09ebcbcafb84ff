"""Defines the options that several commands share, so that they mean the same in each.

In: the words on the command line. Out: click options, and values as the library takes them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from enum import Enum
from functools import wraps
from pathlib import Path
from typing import Any

import click

from planner.cli import completion
from planner.cli.types import BATCH, Words
from planner.config.generation import JobMode
from planner.config.parse import choice
from planner.config.step import (
    EMA_DECAY,
    BuildOn,
    CompileMode,
    DataDependent,
    Offload,
    OptimizerName,
    Precision,
    StepConfig,
)
from planner.config.target import Scalar, parse_argument
from planner.errors import UsageError
from planner.machine.whole_files import check_place
from planner.memory.card_words import OWN_CARD
from planner.units import parse_seconds

DEFAULTS = StepConfig()
ALLOC_CONF_DEFAULT = "that of the environment"
AT_LEAST_1 = click.IntRange(min=1)
Decorator = Callable[[Any], Any]


def only_given(names: Collection[str], options: Sequence[Decorator]) -> Decorator:
    """Returns a decorator that adds `options` to a command, called without those not given.

    `names` are the names of these options in the command's function.
    """

    def decorator(command: Callable[..., Any]) -> Any:
        @wraps(command)
        def called(*args: Any, **values: Any) -> Any:
            given = {
                name: value
                for name, value in values.items()
                if name not in names or value not in (None, ())
            }
            return command(*args, **given)

        for option in reversed(options):
            called = option(called)
        return called

    return decorator


def words(kind: type[Enum]) -> click.ParamType[Any]:
    """Returns the type of an option whose values are those of an enum, without regard to case."""
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


def _compile_mode(
    context: click.Context, parameter: click.Parameter, text: str | None
) -> str | None:
    if text is None:
        return None
    try:
        return choice(CompileMode, text, "--compile").value
    except UsageError as error:
        raise click.BadParameter(
            f"{error}. What follows --compile is taken for one: write "
            f"--compile={CompileMode.DEFAULT.value}, or --compile at the end."
        ) from None


target = click.argument("target", shell_complete=completion.files)
one_card = click.option(
    "--gpu",
    metavar="NAME",
    shell_complete=completion.cards(OWN_CARD),
    show_default="auto",
    help="Card, like a100 or rtx4090, or auto: this machine's.",
)


def batch(help_text: str) -> Decorator:
    """Returns the option --batch, passed as batch_size."""
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
    """Returns the option --precision."""
    return click.option(
        "--precision",
        type=words(Precision),
        show_default="as-built: nothing is cast",
        help=help_text,
    )


def timeout(help_text: str) -> Decorator:
    """Returns the option --timeout, passed as timeout_s."""
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
    """Inverts a flag that switches something off."""
    return not given


_VALUES_OPTIONS: tuple[Decorator, ...] = (
    click.option(
        "--data-dependent",
        type=words(DataDependent),
        default=DEFAULTS.data_dependent.value,
        show_default=True,
        help="Sizes that only a card could compute: those of an untrained net, or the worst case.",
    ),
    click.option(
        "--size-at",
        "size_at",
        metavar="FILE:LINE=N",
        multiple=True,
        show_default="not known",
        help="The size that is read at a line of your code, like moe.py:41=4096; repeatable.",
    ),
)
_STEP_OPTIONS: tuple[Decorator, ...] = (
    click.option(
        "--mode",
        type=words(JobMode),
        default=DEFAULTS.mode.value,
        show_default=True,
        help="A training step, a forward pass alone, or what a published model generates.",
    ),
    precision(
        "Dtype of weights and arithmetic, like bf16; amp-* is autocast over the weights as built."
    ),
    click.option(
        "--optimizer",
        metavar="NAME",
        type=words(OptimizerName),
        show_default="build_optimizer of the model file, else adamw",
        help=f"One of {', '.join(member.value for member in OptimizerName)}.",
    ),
    click.option(
        "--optimizer-arg",
        "optimizer_arguments",
        metavar="KEY=VALUE",
        multiple=True,
        show_default="those of the optimizer",
        help="Argument for --optimizer, like lr=0.1; repeatable.",
    ),
    click.option(
        "--batch-from-data",
        is_flag=True,
        help="A batch of items of the model file's build_dataset, in place of build_batch.",
    ),
    click.option("--channels-last", is_flag=True, help="Weights and images in channels_last."),
    click.option(
        "--checkpoint-activations",
        is_flag=True,
        help="Compute activations again in backward: the model's own switch, else per block.",
    ),
    click.option(
        "--checkpoint-blocks",
        metavar="WHICH",
        show_default="all, with --checkpoint-activations",
        help="Do so for some blocks: every:2, first:8, or names of modules like 'layer1.*'.",
    ),
    click.option(
        "--chunked-loss",
        metavar="N",
        type=click.IntRange(min=2),
        show_default="whole",
        help="Output layer and cross-entropy in N pieces, like 8, computed again in backward.",
    ),
    click.option(
        "--compile",
        metavar="[MODE]",
        is_flag=False,
        flag_value=CompileMode.DEFAULT.value,
        callback=_compile_mode,
        show_default="as the model file has it",
        help="Call model.compile(), with a mode like reduce-overhead or max-autotune; off: run "
        "compiled parts as eager code.",
    ),
    click.option(
        "--optimizer-in-backward",
        is_flag=True,
        help="Step each parameter in backward, as soon as its gradient is there, and free that.",
    ),
    click.option(
        "--offload",
        metavar="PART",
        multiple=True,
        type=words(Offload),
        show_default="nothing",
        help="Keep activations or optimizer in the RAM of the host; of a pipeline (--task "
        "generate) what does not run, by model or sequential; repeatable.",
    ),
    click.option(
        "--accumulate",
        metavar="N",
        type=AT_LEAST_1,
        default=DEFAULTS.accumulate,
        show_default=True,
        help="Micro-batches in an optimizer step, like 4.",
    ),
    click.option(
        "--clip-grad-norm",
        metavar="X",
        type=float,
        show_default="not clipped",
        help="clip_grad_norm_ of all gradients before the optimizer's step, like 1.0.",
    ),
    click.option(
        "--ema",
        metavar="[DECAY]",
        is_flag=False,
        flag_value=str(EMA_DECAY),
        callback=_decay,
        show_default="none kept",
        help=f"Keep a moving average of the weights, with a decay like 0.9999; else {EMA_DECAY}.",
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
        help="Steps to run, like 5; the first ones take less memory than the later ones.",
    ),
    *_VALUES_OPTIONS,
    click.option(
        "--build-on",
        type=words(BuildOn),
        show_default="where it costs no host memory",
        help="Where the model is constructed.",
    ),
)


def step_options(command: Any) -> Any:
    """Adds the options of a step that all step commands but inspect share."""
    for option in reversed(_STEP_OPTIONS):
        command = option(command)
    return command


def values_options(command: Any) -> Any:
    """Adds the options for values that only a card could compute; inspect has these too."""
    for option in reversed(_VALUES_OPTIONS):
        command = option(command)
    return command


sequence_length = click.option(
    "--seq",
    "sequence_length",
    metavar="N",
    type=AT_LEAST_1,
    show_default="that of build_batch",
    help="Length of a sequence, like 2048, where build_batch takes a sequence_length.",
)
model_arg = click.option(
    "--model-arg",
    "model_arguments",
    metavar="KEY=VALUE",
    multiple=True,
    callback=_arguments,
    show_default="none",
    help="Argument for the function or class that builds the model, like depth=12; repeatable.",
)
input_spec = click.option(
    "--input",
    "inputs",
    metavar="SPEC",
    multiple=True,
    show_default="build_batch of the model file",
    help="Input without its batch dimension, like 3x224x224 or ids=1024:int64; repeatable.",
)
gpu_memory = click.option(
    "--gpu-memory",
    metavar="SIZE",
    show_default="that of its record",
    help="Memory of the card, like 24GiB (at most 16 TiB).",
)
reserve = click.option(
    "--reserve",
    metavar="SIZE|%",
    default="0",
    show_default=True,
    help="Memory to keep free, like 1GiB or 5%.",
)
no_calibration = click.option(
    "--no-calibration",
    "calibration",
    is_flag=True,
    callback=inverted,
    help="Do not correct the figures by what `planner history` has of the card.",
)
no_cache = click.option(
    "--no-cache",
    "cache",
    is_flag=True,
    callback=inverted,
    help="Run all of it, and keep no answers (`planner cache`).",
)
alloc_conf = click.option(
    "--alloc-conf",
    metavar="TEXT",
    show_default=ALLOC_CONF_DEFAULT,
    help="PYTORCH_CUDA_ALLOC_CONF for the runs, like expandable_segments:True.",
)


def in_a_folder(
    context: click.Context, parameter: click.Parameter, file: Path | None
) -> Path | None:
    """Returns the file to write; refuses a wrong place before minutes of work."""
    if file is not None:
        check_place(file, parameter.opts[0])
    return file


def _output_file(
    name: str, help_text: str, checked: Callable[..., Path | None] = in_a_folder
) -> Decorator:
    """Returns an option for a file to write; a project's file never gives it a value."""
    return click.option(
        f"--{name}",
        f"{name}_file",
        metavar="FILE",
        type=click.Path(dir_okay=False, path_type=Path),
        callback=checked,
        show_default="no file",
        help=help_text,
    )


as_csv = _output_file("csv", "Write the figures to FILE as CSV as well, like figures.csv.")
save = _output_file(
    "save",
    "Keep the whole result in a FILE like run.planner; `planner show FILE` prints it again.",
)


def _a_plot(context: click.Context, parameter: click.Parameter, file: Path | None) -> Path | None:
    """Returns the file of a picture; refuses one that cannot be drawn before minutes of work."""
    if file is not None:
        from planner.results.plots.canvas import check_matplotlib, plot_format

        plot_format(file)
        check_matplotlib()
    return in_a_folder(context, parameter, file)


plot = _output_file(
    "plot", "Draw the result into a FILE like memory.svg, .png or .pdf as well.", _a_plot
)
hardware_db = click.option(
    "--hardware-db",
    metavar="DIR",
    type=click.Path(path_type=Path),
    show_default="ours alone",
    help="Your own records, like ./records: *.yaml of cards, and cpus/, links/, hosts/, models/.",
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON in place of a report.")
verbose = click.option(
    "-v", "--verbose", is_flag=True, help="Print all rows, and notes on how figures were made."
)
quiet = click.option("-q", "--quiet", is_flag=True, help="No progress on stderr.")
