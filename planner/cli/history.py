"""`planner history`: what was kept on this machine of real runs, as a table or JSON on stdout."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from planner.cli import options as shared
from planner.cli.output import print_json, print_renderable
from planner.cli.terminal import print_text, say
from planner.errors import UsageError
from planner.machine.whole_files import write_whole
from planner.render.outside_text import shown_record
from planner.verification import history as kept

_EXIT_CODES = """\b
Exit codes:
  0  done
  1  error: the history cannot be read or written
  2  wrong usage: an option, an id that is not there
"""
_IDS = click.argument("ids", metavar="ID...", nargs=-1, type=click.IntRange(min=1))


@click.group(invoke_without_command=True, epilog=_EXIT_CODES)
@click.option("--card", metavar="NAME", help="Only of this card, by the name that torch gives it.")
@click.option("--target", metavar="TARGET", help="Only of this target.")
@shared.as_json
@click.pass_context
def history(context: click.Context, card: str | None, target: str | None, as_json: bool) -> None:
    """List, show, export or delete kept verifications and traces."""
    if context.invoked_subcommand is not None:
        return
    found = kept.kept(card=card, target=target)
    if as_json:
        print_json({"entries": [one.to_dict() for one in found]})
        return
    from planner.render.terminal.history import history_table

    print_renderable(history_table(shown_record(found)))


@history.command()
@click.argument("number", metavar="ID", type=click.IntRange(min=1))
@shared.as_json
def show(number: int, as_json: bool) -> None:
    """Show one entry: each figure, predicted and measured."""
    found = kept.entry(number)
    if as_json:
        print_json(found.to_dict())
        return
    from planner.render.terminal.history import history_entry

    print_renderable(history_entry(shown_record(found)))


@history.command()
@click.argument("file", required=False, type=click.Path(dir_okay=False, path_type=Path))
def export(file: Path | None) -> None:
    """Write all entries as JSON, one on a line, to FILE or to stdout."""
    lines = [f"{line}\n" for line in kept.exported(kept.kept())]
    if file is None or str(file) == "-":
        print_text("".join(lines))
    else:
        write_whole(file, "".join(lines), is_private=True)


@history.command()
@_IDS
@click.option("--all", "everything", is_flag=True, help="Delete every entry.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def delete(ids: Sequence[int], everything: bool, yes: bool) -> None:
    """Delete entries: those with the ids given, or all."""
    if bool(ids) == everything:
        raise UsageError("say which: planner history delete ID..., or planner history delete --all")
    count = len(kept.ids_kept())
    if everything and not count:
        say("the history is empty")
        return
    kept.check_ids(ids)
    what = f"all {_counted(count)}" if everything else _named(ids)
    if not yes:
        click.confirm(f"delete {what}?", abort=True, err=True)
    if everything:
        kept.delete_all()
    else:
        kept.delete(ids)
    say(f"deleted {what}")


def _counted(count: int) -> str:
    return f"{count} entr{'y' if count == 1 else 'ies'}"


def _named(ids: Sequence[int]) -> str:
    numbers = ", ".join(map(str, dict.fromkeys(ids)))
    return f"entr{'y' if len(set(ids)) == 1 else 'ies'} {numbers}"
