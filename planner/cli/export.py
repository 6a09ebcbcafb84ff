"""`planner export RESULT`: the memory of a saved result, for the tools that people already use."""

from __future__ import annotations

from pathlib import Path

import click

import planner
from planner.cli import completion
from planner.cli import options as shared
from planner.cli.terminal import print_text, say
from planner.errors import UsageError
from planner.render.exports.result_formats import BINARY, ENDINGS, ResultFormat
from planner.render.outside_text import shown, shown_lines

_EXIT_CODES = """\b
Examples:
  planner estimate models/resnet50.py --gpu a100 --save run.planner
  planner export run.planner --format memory-snapshot -o run.pickle
  planner export run.planner --format csv --batch 64 -o run.csv
\b
Exit codes:
  0  done, also where the step does not fit
  1  error: the result cannot be read, the file not written, or pyarrow is not installed
  2  wrong usage: a result without recordings, a batch that is not in it, an unknown card
"""


@click.command(epilog=_EXIT_CODES)
@click.argument("result", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "form",
    type=shared.words(ResultFormat),
    required=True,
    help="For PyTorch's memory viewer, Perfetto, tables, data frames or speedscope.",
)
@click.option(
    "-o",
    "--output",
    "output_file",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    callback=shared.in_a_folder,
    show_default="stdout, where it is text",
    help="File to write, like run.pickle; one that is there is replaced.",
)
@click.option(
    "--batch",
    "batch_size",
    metavar="N",
    type=shared.AT_LEAST_1,
    show_default="that of the run",
    help="Batch to export, like 64; it is replayed, not run.",
)
@click.option(
    "--gpu",
    metavar="CARD",
    shell_complete=completion.cards(),
    show_default="the first of the result",
    help="Card of the result, like a100.",
)
def export(
    result: Path, form: str, output_file: Path | None, batch_size: int | None, gpu: str | None
) -> None:
    """Write the memory of a saved result for another tool.

    RESULT is a file of `planner estimate --save` or `planner run --save`. Nothing is run, and
    PyTorch is not imported.
    """
    from planner.render.exports.result_file import result_file
    from planner.results.saved_file import load

    chosen = ResultFormat(form)
    if output_file is None and chosen in BINARY:
        raise UsageError(
            f"--format {chosen.value} is not text: name a file for it, like "
            f"-o {result.stem}{ENDINGS[chosen]}"
        )
    if output_file is None:
        content = result_file(load(result), chosen, batch_size=batch_size, gpu=gpu)
        print_text(shown_lines(content.decode()))
        return
    planner.export(result, to=output_file, format=chosen.value, batch=batch_size, gpu=gpu)
    say(f"{chosen.value}: {shown(str(output_file))}")
