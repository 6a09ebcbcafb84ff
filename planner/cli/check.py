"""`planner check`: the limits of a project's file, for a CI job."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path

import click

from planner.cli import completion
from planner.cli import options as shared
from planner.cli.check_file import read_checks
from planner.cli.config_file import ConfigFile, find_config, read_config
from planner.cli.exit_codes import ExitCode
from planner.cli.output import print_result
from planner.cli.progress import shown_progress
from planner.cli.step_command import of_other_commands
from planner.config.check import Check
from planner.config.near_words import near
from planner.errors import DocumentError, UsageError
from planner.machine.whole_files import check_place, write_whole
from planner.questions.check import check as asked_check
from planner.results.budget import BudgetReport, CheckVerdict
from planner.results.budget_lock import Lock, lock_text, read_lock, updated_lock

LOCK_FILE = "planner.lock"
_EXIT_CODES = """\b
Exit codes:
  0  done, and all limits hold
  1  error: a target failed or a limit could not be decided (the others are done)
  2  wrong usage: a key, a value, a limit without a unit, an unknown card
  3  done, and a limit is exceeded, or a step does not fit on its card
"""
_CODES = {
    CheckVerdict.WITHIN: ExitCode.FITS,
    CheckVerdict.EXCEEDED: ExitCode.DOES_NOT_FIT,
    CheckVerdict.FAILED: ExitCode.ERROR,
}


def _export(name: str, help_text: str) -> shared.Decorator:
    return click.option(
        f"--{name}",
        f"{name}_file",
        metavar="FILE",
        type=click.Path(dir_okay=False, path_type=Path),
        show_default="no file",
        help=help_text,
    )


@click.command(epilog=_EXIT_CODES)
@click.argument(
    "file", required=False, type=click.Path(path_type=Path), shell_complete=completion.files
)
@click.option("--update", is_flag=True, help="Write the figures into the lock file, planner.lock.")
@click.option(
    "--only",
    metavar="NAME",
    multiple=True,
    show_default="all",
    help="Run the check of this name, like mlp; repeatable.",
)
@click.option(
    "--lock",
    "lock_file",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    show_default="planner.lock in the folder of the file",
    help="The lock file, like budgets.lock.",
)
@click.option(
    "--jobs",
    metavar="N",
    type=shared.AT_LEAST_1,
    show_default="as memory allows",
    help="Estimates at a time, like 2.",
)
@_export("markdown", "Write a table for a pull request to FILE, like budget.md.")
@_export("junit", "Write JUnit XML to FILE, like budget.xml.")
@_export("sarif", "Write SARIF 2.1.0 to FILE, like budget.sarif.")
@shared.as_json
@shared.verbose
@shared.quiet
@click.pass_context
def check(
    context: click.Context,
    /,
    file: Path | None,
    update: bool,
    only: tuple[str, ...],
    lock_file: Path | None,
    jobs: int | None,
    as_json: bool,
    verbose: bool,
    quiet: bool,
    **exports: Path | None,
) -> None:
    """Hold the limits of a project's file, for a CI job.

    FILE is planner.toml or pyproject.toml, by default the nearest one. Each [[check]] in it has a
    target, a card, options of `planner estimate`, and limits. planner.lock next to it keeps the
    figures of the last --update: the report says what grew since then, and where.
    """
    outputs = {name: Path.cwd() / path for name, path in exports.items() if path is not None}
    config = _config(file)
    path = Path(os.path.realpath(config.path))
    folder = path.parent
    place = folder / LOCK_FILE if lock_file is None else Path.cwd() / lock_file
    for name, output in outputs.items():
        check_place(output, f"--{name.removesuffix('_file')}")
    if update:
        check_place(place, "--lock")
    every = read_checks(config, lambda: of_other_commands(context))
    lock = _lock(place)
    os.chdir(folder)  # paths of targets count from the folder of the file
    with shown_progress(quiet) as progress:
        report = asked_check(
            _chosen(every, only),
            file=path,
            lock=lock,
            update=update,
            jobs=jobs,
            on_progress=progress,
        )
    print_result(report, "check", as_json=as_json, verbose=verbose)
    if update:  # after the report, as a full disk must not cost it
        new = updated_lock(lock or Lock(), report, [one.name for one in every])
        write_whole(place, lock_text(new))
    for name, output in outputs.items():
        write_whole(output, _exported(name.removesuffix("_file"), report))
    context.exit(_CODES[report.verdict])


def _config(file: Path | None) -> ConfigFile:
    if file is not None:
        return read_config(file)
    found = find_config()
    if found is None:
        raise UsageError(
            "there is no planner.toml here or above, and no [tool.planner] in a pyproject.toml; "
            "write one with [[check]], or name the file"
        )
    return found


def _chosen(every: tuple[Check, ...], only: tuple[str, ...]) -> tuple[Check, ...]:
    names = [check.name for check in every]
    for name in only:
        if name not in names:
            guess = near(name, names)
            hint = f"did you mean {guess!r}?" if guess else f"there are {', '.join(names)}"
            raise UsageError(f"--only {name}: there is no check of this name; {hint}")
    return tuple(check for check in every if not only or check.name in only)


def _lock(place: Path) -> Lock | None:
    """Returns the content of the lock file; None if there is none.

    Raises:
        DocumentError: it cannot be read, is damaged or of another version.
    """
    try:
        text = place.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise DocumentError(f"{place} cannot be read: {error}") from error
    return read_lock(text, str(place))


def _exported(name: str, report: BudgetReport) -> str:
    text: str = import_module(f"planner.render.exports.{name}").export(report)
    return text
