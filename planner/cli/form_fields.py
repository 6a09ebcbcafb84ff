"""Describes the options of `planner estimate` as fields of a form, for the page of `planner ui`.

In: the command. Out: FormFields. Convention: what writes or reads another file of this machine, or
chooses how a report is printed, is no field.
"""

from __future__ import annotations

from pathlib import Path

import click

from planner.cli.config_file import find_config
from planner.cli.estimate import estimate
from planner.cli.grouped_help import grouped_options
from planner.errors import UsageError
from planner.ui.fields import FieldKind, FormField

NO_FIELDS = frozenset(
    (
        "--json", "--format", "--save", "--verbose", "--quiet", "--no-config", "--help",
        "--hardware-db", "--prices",
    )
)  # fmt: skip
_LISTS_CHOICES = "One of "  # a form shows them


def form_fields() -> tuple[FormField, ...]:
    """Returns the options in the order and under the headings of the command's help."""
    context = click.Context(estimate, info_name="estimate")
    return tuple(
        _field(option, heading)
        for heading, options in grouped_options(estimate, context).items()
        for option in options
        if option.opts[-1] not in NO_FIELDS
    )


def defaults_note(folder: Path) -> str:
    """Returns a line on the defaults that a project's file gives in that folder; "" without one."""
    try:
        config = find_config(folder)
    except UsageError as error:
        return str(error)
    if config is None or not config.defaults:
        return ""
    listed = ", ".join(f"{key} {value}" for key, value in config.defaults.items())
    return f"Fields that are left empty have the defaults of {config.place}: {listed}"


def _field(option: click.Option, heading: str) -> FormField:
    kind, choices, minimum = _kind(option)
    return FormField(
        name=option.opts[-1],
        heading=heading,
        kind=kind,
        help="" if choices and _LISTS_CHOICES in (option.help or "") else option.help or "",
        default=_default(option),
        hint=option.metavar or "",
        choices=choices,
        minimum=minimum,
    )


def _kind(option: click.Option) -> tuple[FieldKind, tuple[str, ...], int | None]:
    if option.is_flag:
        return FieldKind.SWITCH, (), None
    choices = tuple(map(str, option.type.choices)) if isinstance(option.type, click.Choice) else ()
    if option.multiple and option.name != "gpu":  # cards are one word with commas
        return FieldKind.LIST, choices, None
    if choices:
        return FieldKind.CHOICE, choices, None
    if isinstance(option.type, click.IntRange):
        return FieldKind.NUMBER, (), None if option.type.min is None else int(option.type.min)
    return FieldKind.TEXT, (), None


def _default(option: click.Option) -> str:
    """Returns the default in words, as the help has it; "" for a switch."""
    if option.is_flag:
        return ""
    if isinstance(option.show_default, str):
        return option.show_default
    # Of an option without a default click has None or a mark of its own.
    return str(option.default) if isinstance(option.default, (str, int, float)) else ""
