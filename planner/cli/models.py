"""`planner models`: the catalog of published models, listed, searched, or one of them.

In: words that a name, a family or a class must have. Out: a table, a sheet, or JSON on stdout.
Convention: `planner models WORDS` is the hidden command `search`, so that `show` stays a word of
its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from planner.catalog import catalog
from planner.catalog.model_file import model_file
from planner.catalog.records import CatalogModel
from planner.cli import completion, tables
from planner.cli import options as shared
from planner.cli.output import print_json
from planner.cli.tables import Column
from planner.cli.terminal import print_text
from planner.errors import UnknownModelError, UsageError
from planner.units import format_count

_COLUMNS: tuple[Column[CatalogModel], ...] = (
    ("model", lambda model: model.name),
    ("parameters", lambda model: format_count(model.parameters)),
    ("dtype", lambda model: model.dtype),
    ("library", lambda model: model.library.value),
    ("family", lambda model: model.family),
)
# `hf:NAME` is how a target is written; the name alone is meant.
_PREFIXES = ("hf:", "diffusers:")


class _Models(click.Group):
    """A group whose first word, if it is no command, is a text to search for."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Returns the command and its words; `search` where the first word is no command."""
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            return "search", self.get_command(ctx, "search"), args
        return super().resolve_command(ctx, args)


@click.group(cls=_Models, invoke_without_command=True, subcommand_metavar="[TEXT]... | show NAME")
@shared.hardware_db
@shared.as_json
@click.pass_context
def models(context: click.Context, hardware_db: Path | None, as_json: bool) -> None:
    """List published models; `planner models show NAME` shows one."""
    if context.invoked_subcommand is None:
        _print_list(catalog.all_models(hardware_db), as_json=as_json)


@models.command(hidden=True)
@click.argument("text", nargs=-1, required=True)
@shared.hardware_db
@shared.as_json
@click.pass_context
def search(
    context: click.Context, text: Sequence[str], hardware_db: Path | None, as_json: bool
) -> None:
    """List the models with each word of TEXT in a name, the family or the class."""
    folder, as_json = tables.with_those_before(context, hardware_db, as_json)
    words = [_without_prefix(word).casefold() for word in text]
    found = [model for model in catalog.all_models(folder) if _has_all(model, words)]
    if not found:
        raise _unknown(" ".join(text), f"no model with {' '.join(text)!r} in its names", folder)
    _print_list(found, as_json=as_json)


@models.command()
@click.argument("name", shell_complete=completion.models)
@click.option("--config", "as_config", is_flag=True, help="Print its config.json alone.")
@click.option(
    "--write",
    "file",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write it as a model file that can be changed, like model.py.",
)
@shared.hardware_db
@shared.as_json
@click.pass_context
def show(
    context: click.Context,
    name: str,
    as_config: bool,
    file: Path | None,
    hardware_db: Path | None,
    as_json: bool,
) -> None:
    """Show one model, by its name on the hub or the last part of it: its config and source."""
    folder, as_json = tables.with_those_before(context, hardware_db, as_json)
    model = catalog.find_model(_without_prefix(name), folder)
    if model is None:
        raise _unknown(name, f"no model named {name!r} in the catalog", folder)
    if file is not None:
        _write(model, file)
    elif as_config:
        print_text(catalog.config_json(model))
    elif as_json:
        print_json({"requested": name, "model": model.to_dict()})
    else:
        config = list(_lines_of(model.config))
        tables.print_sheet(model.name, model.notes, _model_lines(model), {"config": config})


def _write(model: CatalogModel, file: Path) -> None:
    text = model_file(model)
    try:
        with file.open("x", encoding="utf-8") as new:
            new.write(text)
    except FileExistsError:
        raise UsageError(f"{file} is there already, and is not replaced") from None
    except OSError as error:
        raise UsageError(f"{file} cannot be written: {error.strerror}") from None
    print_text(f"{file} written: planner estimate {file} --gpu a100\n")


def _print_list(found: Sequence[CatalogModel], *, as_json: bool) -> None:
    tables.print_records("models", _COLUMNS, found, as_json=as_json)


def _has_all(model: CatalogModel, words: Sequence[str]) -> bool:
    texts = [
        text.casefold()
        for text in (*model.names, model.family, model.model_class, model.library.value)
    ]
    return all(any(word in text for text in texts) for word in words)


def _unknown(name: str, says: str, folder: Path | None) -> UnknownModelError:
    near = catalog.near_models(_without_prefix(name), folder)
    hint = f"; near names: {', '.join(near)}" if near else ""
    return UnknownModelError(f"{says}{hint}; run `planner models` to list all of them")


def _without_prefix(name: str) -> str:
    prefix = next((one for one in _PREFIXES if name.startswith(one)), "")
    return name[len(prefix) :]


def _model_lines(model: CatalogModel) -> list[tuple[str, str]]:
    return [
        ("other names", ", ".join(model.aliases)),
        ("family", model.family),
        ("class", f"{model.model_class} of {model.library.value}"),
        ("dtype", model.dtype),
        ("parameters", f"{model.parameters:,}"),
        ("parameters from", model.parameters_source),
        ("config from", model.source),
        ("read on", model.date),
    ]


def _lines_of(config: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    """Yields each key, those of a mapping in it with a dot, and its value as JSON writes it."""
    import json  # only needed for a sheet

    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            yield from _lines_of(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", json.dumps(value)
