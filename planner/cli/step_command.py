"""A command that runs a step: its options may have defaults in a file of the project.

In: the words of the command line, and the file. Out: the same command with these defaults, and the
defaults that are in force, for the report.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import click

from planner.cli.config_file import find_config
from planner.cli.file_defaults import FileDefaults, file_defaults, long_options
from planner.cli.grouped_help import GroupedCommand
from planner.errors import UsageError, WrongTargetError

_GIVEN = "planner.given"
_DEFAULTS = "planner.defaults"

no_config = click.option(
    "--no-config",
    is_flag=True,
    expose_value=False,
    help="Leave the defaults of planner.toml or pyproject.toml out.",
)


class StepCommand(GroupedCommand):
    """A command that runs a step: estimate, curve, compare, verify or inspect."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parses the words; options that are not given have the defaults of a file.

        Raises:
            UsageError: the file has an unknown table or key, or a value of a wrong kind.
        """
        if ctx.resilient_parsing:  # to complete a word
            return super().parse_args(ctx, args)
        given, others, _ = self.make_parser(ctx).parse_args(list(args))
        help_option = self.get_help_option(ctx)
        if help_option is not None and help_option.name in given:
            return super().parse_args(ctx, args)
        if others and given.get("gpu"):  # --gpu a100 t4
            raise click.UsageError(_too_many(given, others), ctx)
        ctx.meta[_GIVEN] = given
        if "no_config" not in given:
            self._set_defaults(ctx, given)
        try:
            return super().parse_args(ctx, args)
        except click.BadParameter as error:
            used = used_defaults(ctx)
            wrong = None if used is None else self._key_of(error.param, used)
            if used is None or wrong is None:
                raise
            raise UsageError(f"{used.config.place}: {wrong}: {error.message}") from error
        except UsageError as error:
            _say_defaults(error, used_defaults(ctx))
            raise

    def _set_defaults(self, ctx: click.Context, given: Mapping[str, Any]) -> None:
        config = find_config()
        if config is not None:
            defaults = file_defaults(config, self, given, lambda: of_other_commands(ctx))
            ctx.default_map = dict(defaults.values)
            ctx.meta[_DEFAULTS] = defaults

    def _key_of(self, param: click.Parameter | None, used: FileDefaults) -> str | None:
        """Returns the key of the file that set a parameter; None where the file did not."""
        keys = (key for key, option in long_options(self).items() if option is param)
        return next((key for key in keys if key in used.texts), None)

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command; adds the defaults of the file to a UsageError."""
        try:
            return super().invoke(ctx)
        except UsageError as error:
            _say_defaults(error, used_defaults(ctx))
            raise


def _too_many(given: Mapping[str, Any], others: Sequence[str]) -> str:
    """Returns the message for words left over after --gpu, which may be cards too."""
    cards = given["gpu"] if isinstance(given["gpu"], str) else ",".join(given["gpu"])
    return (
        f"Too many words: {' '.join(others)}. Several cards go into one word, with commas, like "
        f"--gpu {cards},{','.join(others)}"
    )


def given_words(context: click.Context | None) -> dict[str, Any]:
    """Returns the words of the command line as click has parsed them, before any check."""
    found: dict[str, Any] = {} if context is None else context.meta.get(_GIVEN, {})
    return found


def used_defaults(context: click.Context | None = None) -> FileDefaults | None:
    """Returns the defaults that are in force in this command; None without any."""
    context = context or click.get_current_context(silent=True)
    found: FileDefaults | None = None if context is None else context.meta.get(_DEFAULTS)
    return found if found is not None and found.texts else None


def defaults_line(used: FileDefaults | None) -> str | None:
    """Returns a line like `defaults of planner.toml: gpu a100, batch 8`; None without any."""
    if used is None:
        return None
    listed = ", ".join(f"{key} {_shown(value)}" for key, value in used.texts.items())
    return f"defaults of {used.config.place}: {listed}"


def _say_defaults(error: UsageError, used: FileDefaults | None) -> None:
    """Adds the defaults in force to an error, because one of them may be the cause."""
    line = defaults_line(used)
    if line is not None and not isinstance(error, WrongTargetError):  # the file names no target
        error.args = (f"{error}\n{line}",)


def _shown(value: object) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def of_other_commands(context: click.Context) -> Collection[str]:
    """Returns the options of all commands that take defaults from a file; imports them."""
    root = context.find_root().command
    if not isinstance(root, click.Group):
        return ()
    commands = (root.get_command(context, name) for name in root.list_commands(context))
    return {
        name
        for command in commands
        if isinstance(command, StepCommand)
        for name in long_options(command)
    }
