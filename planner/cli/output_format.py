"""`--format`: the report, JSON, or the resource request of a scheduler.

In: an Estimate and the words of the command line. Out: stdout. Convention: `--json` is short for
`--format json`.
"""

from __future__ import annotations

from enum import Enum

import click

from planner.cli import options as shared
from planner.cli.output import Document, print_result
from planner.cli.terminal import print_text
from planner.errors import UsageError
from planner.render.exports.formats import RequestFormat

_TABLE, _JSON = "table", "json"
OutputFormat = Enum(  # type: ignore[misc]  # members of another enum are no literals
    "OutputFormat",
    {"TABLE": _TABLE, "JSON": _JSON, **{one.name: one.value for one in RequestFormat}},
    type=str,
)

output_format = click.option(
    "--format",
    "output_format",
    type=shared.words(OutputFormat),
    show_default="a table; JSON with --json",
    help="Print a table, JSON, or only the resource request for SkyPilot, dstack, Kubernetes, "
    "Slurm or HAMi.",
)


def chosen_format(output_format: str | None, *, as_json: bool) -> str:
    """Returns the format in force.

    Raises:
        UsageError: --json, and --format with another one.
    """
    if as_json and output_format not in (None, _JSON):
        raise UsageError(f"--json and --format {output_format}: say one of them")
    return _JSON if as_json else output_format or _TABLE


def is_request(chosen: str) -> bool:
    """Returns whether the format is the request of a scheduler."""
    return chosen not in (_TABLE, _JSON)


def print_in_format(found: Document, report: str, chosen: str, *, verbose: bool) -> None:
    """Prints a result in the chosen format.

    Raises:
        UsageError: a request is wanted, and it is not the result of `estimate` for a card.
    """
    if not is_request(chosen):
        print_result(found, report, as_json=chosen == _JSON, verbose=verbose)
        return
    from planner.render.exports.requests import resource_request  # loads slowly
    from planner.results.estimate import Estimate

    if not isinstance(found, Estimate):
        raise UsageError(f"--format {chosen} is for the result of `planner estimate` and `run`")
    print_text(resource_request(found, RequestFormat(chosen)))
