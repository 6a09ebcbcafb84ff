"""Completes the word that is being typed in a shell: cards, processors, hosts, models, files.

In: click's context, the option, the beginning of the word. Out: the words that begin so.
Convention: nothing is run, and only names of records are offered; an unreadable file offers none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from planner.errors import PlannerError

Completion = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def cards(*words: str, several: bool = False) -> Completion:
    """Returns a completion with `words` and the ids of cards; it completes the last of a list."""

    def offered(
        context: click.Context, parameter: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        from planner.hardware.database import load_gpus

        before, comma, last = incomplete.rpartition(",") if several else ("", "", incomplete)
        ids = _read(lambda: load_gpus(_own_records(context)).ids)
        return [CompletionItem(f"{before}{comma}{name}") for name in _going_on(last, words, ids)]

    return offered


def cpus(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Offers the ids of processors."""
    from planner.hardware.database import load_cpus

    ids = _read(lambda: load_cpus(_own_records(context)).ids)
    return [CompletionItem(name) for name in _going_on(incomplete, (), ids)]


def hosts(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Offers the ids of hosts, and this machine."""
    from planner.hardware.database import load_hosts
    from planner.machine.this_host import NAME

    ids = _read(lambda: load_hosts(_own_records(context)).ids)
    return [CompletionItem(name) for name in _going_on(incomplete, (NAME,), ids)]


def models(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Offers the names of published models that begin so, or whose last part does."""
    from planner.catalog.catalog import all_models
    from planner.hardware.names import folded

    names = _read(lambda: [model.name for model in all_models(_own_records(context))])
    start = folded(incomplete)
    return [
        CompletionItem(name)
        for name in sorted(names)
        if any(folded(text).startswith(start) for text in (name, name.rpartition("/")[2]))
    ]


def files(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Lets the shell itself offer files."""
    return [CompletionItem(incomplete, type="file")]


def _own_records(context: click.Context) -> Path | None:
    folder = context.params.get("hardware_db")
    return folder if isinstance(folder, Path) else None


def _read(ids: Callable[[], Sequence[str]]) -> Sequence[str]:
    try:
        return ids()
    except (PlannerError, OSError):
        return ()


def _going_on(beginning: str, words: Sequence[str], ids: Sequence[str]) -> list[str]:
    """Returns names that begin so, from their start or after their first hyphen.

    Case, hyphens and dots do not count: rtx40 and 40 give rtx-4090, g5 gives aws-g5-xlarge.
    """
    from planner.hardware.names import folded

    start = folded(beginning)
    return [
        name
        for name in (*words, *sorted(ids))
        if any(folded(text).startswith(start) for text in (name, name.partition("-")[2]))
    ]
