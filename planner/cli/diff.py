"""`planner diff`: two results, two revisions or two sets of options compared."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click

from planner.cli import options as shared
from planner.cli.estimate import estimate
from planner.cli.output import print_result
from planner.cli.progress import shown_progress
from planner.config.options import Progress
from planner.errors import UsageError
from planner.questions.diff import AskedEstimate, diff_files, diff_options, diff_revisions
from planner.results.difference import Difference

_EXIT_CODES = """\b
Exit codes:
  0  done, whatever grew or shrank
  1  error: a file cannot be read, the model's code, this machine
  2  wrong usage
"""
_OF_THE_COMMAND = ("target", "save_file", "as_json", "verbose", "quiet")


@click.command(
    epilog=_EXIT_CODES,
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": True},
)
@click.argument("words", metavar="A B | TARGET [OPTIONS OF ESTIMATE]", nargs=-1, required=True,
                type=click.UNPROCESSED)  # fmt: skip
@click.option(
    "--rev",
    "revisions",
    metavar="REV",
    multiple=True,
    show_default="none",
    help="A git revision to compare with the working tree, like main; twice: both revisions.",
)
@click.option(
    "--a",
    "before",
    metavar="OPTIONS",
    show_default="none more",
    help="Options of estimate for the first alone, like '--batch 8'.",
)
@click.option(
    "--b",
    "after",
    metavar="OPTIONS",
    show_default="none more",
    help="Options of estimate for the second alone, like '--checkpoint-activations'.",
)
@shared.as_json
@shared.verbose
@shared.quiet
@click.pass_context
def diff(
    context: click.Context,
    /,
    words: tuple[str, ...],
    revisions: tuple[str, ...],
    before: str | None,
    after: str | None,
    as_json: bool,
    verbose: bool,
    quiet: bool,
) -> None:
    """Say what grew between two results, revisions or options.

    A and B are files of --save or --json. With --rev, or with --a and --b, a TARGET and options of
    `planner estimate` stand in their place, and both are estimated.
    """
    if len(revisions) > 2:
        raise click.UsageError("--rev is given at most twice", context)
    if revisions and (before is not None or after is not None):
        raise click.UsageError("say either --rev or --a and --b", context)
    with shown_progress(quiet) as progress:
        found = _found(context, words, revisions, before, after, progress)
    print_result(found, "diff", as_json=as_json, verbose=verbose)


def _found(
    context: click.Context,
    words: tuple[str, ...],
    revisions: tuple[str, ...],
    before: str | None,
    after: str | None,
    progress: Progress,
) -> Difference:
    if revisions:
        asked = _asked(words, "", "")
        second = revisions[1] if len(revisions) > 1 else None
        return diff_revisions(asked, revisions[0], second, progress)
    if before is not None or after is not None:
        return diff_options(
            _asked(words, before or "", before or "without more options"),
            _asked(words, after or "", after or "without more options"),
            progress,
        )
    if len(words) != 2 or any(word.startswith("-") for word in words):
        raise click.UsageError(
            "name two files of --save or --json; to compare a target with itself say --rev REV, or "
            "--a and --b",
            context,
        )
    return diff_files(Path(words[0]), Path(words[1]))


def _asked(words: tuple[str, ...], more: str, label: str) -> AskedEstimate:
    """Returns the estimate that these words of a command line stand for."""
    try:
        added = shlex.split(more)
    except ValueError as error:
        raise UsageError(f"{more!r} cannot be split into options: {error}") from error
    params: dict[str, Any] = estimate.make_context("planner estimate", [*words, *added]).params
    if params["as_json"] or params["save_file"] is not None:
        raise UsageError("--json and --save are of planner diff, or of no use in --a and --b")
    options = {
        name: value
        for name, value in params.items()
        if name not in _OF_THE_COMMAND and value not in (None, ())
    }
    if options.get("hardware_db") is not None:
        options["hardware_db"] = Path(options["hardware_db"]).absolute()
    return AskedEstimate(target=params["target"], options=options, label=label)
