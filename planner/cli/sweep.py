"""`planner sweep`: a grid of cases, run and kept; `show` and `export` read what was kept.

In: a matrix, or lists on the command line. Out: rows in a folder, and a table or JSON on stdout.
Convention: `planner sweep TARGETS` is the hidden command `run`, so that `show` stays a word of its
own.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

import planner
from planner.cli import completion
from planner.cli import options as shared
from planner.cli.exit_codes import ExitCode
from planner.cli.output import print_json, print_renderable
from planner.cli.progress import shown_progress
from planner.cli.terminal import print_text, say
from planner.config.target import parse_argument
from planner.errors import UsageError
from planner.machine.whole_files import check_place, write_whole
from planner.memory.card_words import ALL_CARDS, OWN_CARD
from planner.render.outside_text import shown_record
from planner.results.csv_form import csv_text
from planner.sweeps import export as exported
from planner.sweeps import views
from planner.sweeps.case import SweepOutcome, SweepRow
from planner.sweeps.executors import FORMS
from planner.sweeps.result import SweepResult
from planner.sweeps.store import reading

_FOLDER = "sweep-results"
_LOG_S = 10.0  # between two lines of progress in a log
_RUN = "run"
_EXIT_CODES = """\b
Examples:
  planner sweep models/gpt2.py models/resnet50.py --gpu t4,a100 --batch 8,32
  planner sweep matrix.yaml --out results
  planner sweep show results --pivot target,gpu,peak
\b
Exit codes:
  0  done: every case has an answer, also where a step does not fit
  1  done, and at least one case failed; or an error: a full disk, an executor that is not there
  2  wrong usage: an option, a value, an unknown card
"""
_results = click.argument("results", type=click.Path(path_type=Path))


class _Sweep(click.Group):
    """A group whose words, if the first is no command, are those of `run`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parses the words; puts `run` in front where there is no command."""
        helps = self.get_help_option_names(ctx)
        if args and args[0] not in self.commands and args[0] not in helps:
            args = [_RUN, *args]
        return super().parse_args(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the options of `run`, then the commands."""
        self.commands[_RUN].format_options(ctx, formatter)
        self.format_commands(ctx, formatter)


@click.group(
    cls=_Sweep,
    subcommand_metavar="MATRIX.yaml | TARGET... | show RESULTS | export RESULTS",
    epilog=_EXIT_CODES,
)
def sweep() -> None:
    """Answer a grid of targets, cards and options; resumable.

    MATRIX.yaml has an axis on each line, like `target: [net.py]` and `gpu: [t4, a100]`, and the
    lists include and exclude, as matrices of CI have them.
    """


@sweep.command(name=_RUN, hidden=True)
@click.argument("targets", nargs=-1, shell_complete=completion.files)
@click.option(
    "--gpu",
    metavar="NAMES",
    multiple=True,
    shell_complete=completion.cards(OWN_CARD, ALL_CARDS, several=True),
    help="Cards, like t4,a100; repeatable. all is every one.",
)
@click.option("--batch", metavar="LIST", multiple=True, help="Batches, like 8,32.")
@click.option("--precision", metavar="LIST", multiple=True, help="Precisions, like fp32,amp-bf16.")
@click.option("--seq", metavar="LIST", multiple=True, help="Lengths of a sequence, like 512,1024.")
@click.option(
    "--with",
    "others",
    metavar="NAME=LIST",
    multiple=True,
    help="Any other option of `planner estimate`, like optimizer=adamw,sgd; repeatable.",
)
@click.option(
    "--out",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    default=_FOLDER,
    show_default=True,
    help="Folder for the rows; started again with it, the sweep does what is missing.",
)
@click.option(
    "--executor",
    metavar="NAME",
    default="local",
    show_default=True,
    help=f"Where cases run: {FORMS}.",
)
@click.option(
    "--jobs",
    metavar="N",
    type=shared.AT_LEAST_1,
    show_default="what processors and memory allow",
    help="Cases of this machine at a time, like 2.",
)
@click.option(
    "--confirm",
    is_flag=True,
    help="Run each card by itself, which confirms its largest batch: slower.",
)
@click.option("--retry-failed", is_flag=True, help="Run failed cases again.")
@shared.as_json
@shared.quiet
@click.pass_context
def run(
    context: click.Context,
    targets: Sequence[str],
    gpu: Sequence[str],
    batch: Sequence[str],
    precision: Sequence[str],
    seq: Sequence[str],
    others: Sequence[str],
    out: Path,
    executor: str,
    jobs: int | None,
    confirm: bool,
    retry_failed: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Answer a grid of targets, cards and options; resumable."""
    matrix = _matrix_among(targets)
    axes: dict[str, Any] = {"batch": _list(batch), "precision": _list(precision)}
    axes = {name: values for name, values in {**axes, "seq": _list(seq)}.items() if values}
    if confirm:
        axes["confirm"] = True
    for text in others:
        name, _, listed = text.partition("=")
        if not listed:
            raise UsageError(f"--with {text!r} must be like optimizer=adamw,sgd")
        axes[name] = _list([listed])
    with shown_progress(quiet) as progress:
        found = planner.sweep(
            [] if matrix is not None else list(targets),
            gpu=list(gpu),
            matrix=matrix,
            out=out,
            executor=executor,
            jobs=jobs,
            retry_failed=retry_failed,
            on_progress=progress if sys.stderr.isatty() else _seldom(progress),
            **axes,
        )
    _report(found, as_json=as_json)
    context.exit(ExitCode.ERROR if found.count(SweepOutcome.FAILED) else ExitCode.FITS)


@sweep.command()
@_results
@click.option("--by", metavar="COLUMN", help="A table for each value of a column, like gpu.")
@click.option(
    "--rank",
    metavar="COLUMN",
    help=f"Best first: {', '.join(views.RANKS)}, or another column.",
)
@click.option(
    "--pivot", metavar="DOWN,ACROSS,VALUE", help="A grid of three columns, like target,gpu,peak."
)
@click.option(
    "--where",
    metavar="COLUMN=VALUE",
    multiple=True,
    help="Only these rows, like batch=8 or outcome=ok; repeatable.",
)
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV: every column.")
@click.option("--markdown", "as_markdown", is_flag=True, help="Print a table of Markdown.")
@shared.as_json
def show(
    results: Path,
    by: str | None,
    rank: str | None,
    pivot: str | None,
    where: Sequence[str],
    as_csv: bool,
    as_markdown: bool,
    as_json: bool,
) -> None:
    """Show the rows of a folder: ranked, in groups, or as a grid."""
    if as_csv + as_markdown + as_json > 1:
        raise UsageError("say one of --csv, --markdown and --json")
    if pivot is not None and (by is not None or rank is not None):
        raise UsageError("--pivot makes a grid: leave --by and --rank out, and use --where")
    rows = views.chosen(_kept(results), where)
    if pivot is not None:
        _print_grid(views.pivoted(rows, pivot), as_csv, as_markdown, as_json)
        return
    rows = rows if rank is None else views.ranked(rows, rank)
    groups = {None: rows} if by is None else views.grouped(rows, by)
    in_order = tuple(row for group in groups.values() for row in group)
    if as_json:
        print_json(SweepResult(rows=in_order).to_dict())
    elif as_csv:
        print_text(exported.csv(in_order))
    else:
        _print_groups(groups, as_markdown)


@sweep.command()
@_results
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
def export(results: Path, file: Path) -> None:
    """Write the rows of a folder to FILE: .parquet, or .csv."""
    check_place(file, "FILE")
    rows = _kept(results)
    if file.suffix == ".csv":
        write_whole(file, exported.csv(rows))
    elif file.suffix == ".parquet":
        write_whole(file, exported.parquet(rows))
    else:
        raise UsageError(f"{file} must end in .parquet or .csv, which says what is written")


def _matrix_among(targets: Sequence[str]) -> Path | None:
    """Returns the YAML file among the targets; None: they are targets."""
    files = [target for target in targets if target.endswith((".yaml", ".yml"))]
    if files and len(targets) > 1:
        raise UsageError(
            f"{files[0]} is a matrix, which names the targets: give it alone, and add the others "
            "to its list `target`"
        )
    return Path(files[0]) if files else None


def _list(texts: Sequence[str]) -> list[Any]:
    """Returns the values of texts with commas: numbers, true, false, none, or texts."""
    words = [word.strip() for text in texts for word in text.split(",")]
    if not all(words):
        raise UsageError(f"{', '.join(texts)!r} has an empty value in it; write it like 8,32")
    return [parse_argument(f"value={word}")[1] for word in words]


def _seldom(progress: Callable[[str], None]) -> Callable[[str], None]:
    """Returns a progress for a log: counts come every few seconds, other lines at once."""
    last_s = -_LOG_S

    def show_line(text: str) -> None:
        nonlocal last_s
        now_s = time.monotonic()
        is_count = " cases; " in text
        if not is_count or now_s - last_s >= _LOG_S:
            last_s = now_s if is_count else last_s
            progress(text)

    return show_line


def _report(found: SweepResult, *, as_json: bool) -> None:
    if as_json:
        print_json(found.to_dict())
    fits, other, failed = (found.count(outcome) for outcome in SweepOutcome)
    line = f"{len(found.rows)} cases: {fits} fit, {other} do not, {failed} failed"
    hint = f"planner sweep show {found.folder} --rank step-time"
    if as_json:
        say(line)
    else:
        from planner.render.terminal.sweep import reasons

        lines = [f"{one}\n" for one in reasons(shown_record(found.rows))]
        print_text(f"{line}\n{''.join(lines)}to see them: {hint}\n")


def _kept(results: Path) -> tuple[SweepRow, ...]:
    with reading(results) as store:
        rows, asked = store.rows(), store.count()
    if asked > len(rows):
        say(f"{asked - len(rows)} of {asked} cases have no row yet")
    return rows


def _print_groups(groups: dict[Any, tuple[SweepRow, ...]], as_markdown: bool) -> None:
    from planner.render.terminal.sweep import markdown_rows, table, text_of

    for position, (name, rows) in enumerate(groups.items()):
        title = None if name is None else text_of(name)
        rows = shown_record(rows)
        if position:
            print_text("\n")
        if as_markdown:
            print_text(("" if title is None else f"### {title}\n\n") + markdown_rows(rows))
        else:
            print_renderable(table(rows, title))


def _print_grid(grid: views.Grid, as_csv: bool, as_markdown: bool, as_json: bool) -> None:
    from planner.render.terminal.sweep import grid_table, markdown_grid, text_of

    names = [grid.down, *map(text_of, grid.names_across)]
    lines = [
        dict(
            zip(
                names,
                [name, *(None if row is None else views.value_of(row, grid.value) for row in rows)],
                strict=True,
            )
        )
        for name, rows in zip(grid.names_down, grid.rows, strict=True)
    ]
    if as_json:
        print_json({"down": grid.down, "across": grid.across, "value": grid.value, "grid": lines})
    elif as_csv:
        print_text(csv_text(names, lines))
    elif as_markdown:
        print_text(markdown_grid(shown_record(grid)))
    else:
        print_renderable(grid_table(shown_record(grid)))
