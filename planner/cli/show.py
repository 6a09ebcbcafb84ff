"""`planner show FILE`: a saved result, printed again without a run."""

from __future__ import annotations

from pathlib import Path

import click

from planner.cli import options as shared
from planner.cli.exit_codes import exit_code
from planner.cli.output import plot
from planner.cli.output_format import chosen_format, is_request, output_format, print_in_format

_EXIT_CODES = """\b
Exit codes:
  0  done, also where the step does not fit
  1  error: the file cannot be read, or is not a result of planner
  2  wrong usage
  3  --format of a scheduler: done, and the step does not fit on at least one card asked for
"""
_REPORTS = {"compare": "comparison", "verify": "verification"}  # others have the command's name


@click.command(epilog=_EXIT_CODES)
@click.argument("file", type=click.Path(path_type=Path))
@output_format
@shared.plot
@shared.as_json
@shared.verbose
@click.pass_context
def show(
    context: click.Context,
    /,
    file: Path,
    output_format: str | None,
    plot_file: Path | None,
    as_json: bool,
    verbose: bool,
) -> None:
    """Print a saved result again: of --save or of --json.

    Nothing is run, and PyTorch is not imported. A file of --json has no list of all blocks of
    memory, so the report of an estimate is without its largest tensors.
    """
    from planner.results.document import kind_of_result
    from planner.results.estimate import Estimate
    from planner.results.saved_file import load

    chosen = chosen_format(output_format, as_json=as_json)
    found = load(file)
    command = kind_of_result(found).command
    print_in_format(found, _REPORTS.get(command, command), chosen, verbose=verbose)
    plot(found, plot_file)
    if isinstance(found, Estimate) and is_request(chosen):
        context.exit(exit_code(found))
