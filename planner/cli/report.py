"""`planner report TARGET|RESULT -o FILE`: a result as one self-contained HTML page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import planner
from planner.cli import options as shared
from planner.cli.estimate import estimate
from planner.cli.progress import shown_progress
from planner.cli.step_command import StepCommand
from planner.cli.terminal import say
from planner.config.parallel_words import NAMES as PARALLEL_NAMES
from planner.errors import UsageError
from planner.estimation.job import NAMES as JOB_NAMES
from planner.published.words import NAMES as TASK_NAMES

if TYPE_CHECKING:
    from planner.results.estimate import Estimate

_EXAMPLES = (
    "planner report models/resnet50.py --gpu a100 -o report.html",
    "planner estimate models/gpt2.py --gpu t4 --save gpt2.planner",
    "planner report gpt2.planner --redact -o gpt2.html",
)
_EXIT_CODES = """\b
Exit codes:
  0  done, also where the step does not fit
  1  error: a file cannot be read or written, the model's code, this machine
  2  wrong usage: an option, a value, an unknown card
"""
_OF_ESTIMATE_ALONE = frozenset(
    ("target", "save_file", "plot_file", "output_format", "as_json", "verbose")
)

# As the decorators of estimate do it: without these words the library has the defaults.
_LEFT_OUT = frozenset((*PARALLEL_NAMES, *TASK_NAMES, *JOB_NAMES))


def _sizes(context: click.Context, parameter: click.Parameter, given: str | None) -> list[int]:
    try:
        sizes = [int(one) for one in (given or "").split(",") if one.strip()]
    except ValueError:
        sizes = [0]
    if any(size < 1 for size in sizes):
        raise click.BadParameter(f"{given!r} is no list of batches; write it like 16,32.")
    return sizes


@click.command(cls=StepCommand, examples=_EXAMPLES, epilog=_EXIT_CODES)
@shared.target
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("report.html"),
    show_default=True,
    help="The file of the page; an existing one is replaced.",
)
@click.option(
    "--against",
    metavar="RESULT",
    type=click.Path(path_type=Path),
    help="A second saved result, shown next to the first.",
)
@click.option("--redact", is_flag=True, help="Leave paths and source lines out of the page.")
@click.option(
    "--batches",
    metavar="N,N",
    callback=_sizes,
    help="Batches to show beside the usual ones, like 16,32.",
)
@shared.only_given(_LEFT_OUT, ())
@click.pass_context
def report(
    context: click.Context,
    /,
    target: str,
    output: Path,
    against: Path | None,
    redact: bool,
    batches: list[int],
    quiet: bool,
    **options: Any,
) -> None:
    """Write a result as one page of HTML, with pictures.

    TARGET is a file of --save or --json, which is shown without a run, or a model as in planner
    estimate, which is estimated first; the other options are for that. The page needs no network.
    """
    from planner.machine.whole_files import check_place
    from planner.public.report import MORE_BATCHES
    from planner.results.saved_file import is_saved, load

    check_place(output, "--output")
    other = None if against is None else load(against)
    if is_saved(Path(target)):
        _refuse_options(context)
        found: Any = load(target)
    else:
        with shown_progress(quiet) as progress:
            found = planner.estimate(
                target, on_progress=progress, keep_batches=MORE_BATCHES, **options
            )
        batches = _known(found, batches)
    planner.report(found, to=output, against=other, redact=redact, batches=batches)
    say(f"{output}: {output.stat().st_size / 1e6:.1f} MB")


report.params += [one for one in estimate.params if one.name not in _OF_ESTIMATE_ALONE]


def _known(found: Estimate, batches: list[int]) -> list[int]:
    """Returns the batches that each card can show; the others are named on stderr."""
    from planner.results.timelines import timelines_of

    own, left_out = found.config.batch_size, {}
    asked = [one for one in batches if one != own]
    for index in range(len(found.gpus)) if asked else ():
        try:
            card = timelines_of(found, index)
        except UsageError:
            left_out.update(dict.fromkeys(asked, "there are no recorded allocations"))
            continue
        why = card.alone_because or "its requests do not follow from those of the recorded runs"
        left_out.update({one: why for one in asked if not card.can_show(one)})
    for batch, why in left_out.items():
        say(f"batch {batch} is not on the page: {why}; estimate it with --batch {batch}")
    return [one for one in batches if one not in left_out]


def _refuse_options(context: click.Context) -> None:
    """Raises UsageError for an option that would need a run."""
    own = {"target", "output", "against", "redact", "batches", "quiet"}
    source = click.core.ParameterSource.COMMANDLINE
    given = [
        one.opts[-1]
        for one in context.command.params
        if one.name not in own and context.get_parameter_source(one.name or "") is source
    ]
    if given:
        raise UsageError(
            f"{given[0]} is for a model, and this is a saved result, which is not run again: leave "
            "it out, or name the model"
        )
