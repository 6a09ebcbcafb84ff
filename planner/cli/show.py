"""`planner show FILE`: a saved result, printed again without a run."""

from __future__ import annotations

from pathlib import Path

import click

from planner.cli import options as shared
from planner.cli.output import print_result

_EXIT_CODES = """\b
Exit codes:
  0  done, also where the step does not fit
  1  error: the file cannot be read, or is not a result of planner
  2  wrong usage
"""
_REPORTS = {"compare": "comparison", "verify": "verification"}  # others have the command's name


@click.command(epilog=_EXIT_CODES)
@click.argument("file", type=click.Path(path_type=Path))
@shared.as_json
@shared.verbose
def show(file: Path, as_json: bool, verbose: bool) -> None:
    """Print a saved result again: of --save or of --json.

    Nothing is run, and PyTorch is not imported. A file of --json has no list of all blocks of
    memory, so the report of an estimate is without its largest tensors.
    """
    from planner.results.document import kind_of_result
    from planner.results.saved_file import load

    found = load(file)
    command = kind_of_result(found).command
    print_result(found, _REPORTS.get(command, command), as_json=as_json, verbose=verbose)
