"""`planner`: the root command. Finds the commands, and is the one place where errors are caught.

In: the words of the command line. Out: an exit code; messages on stderr. Convention: a command is
imported when it is run, so that `planner --help` costs no more than click.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import click
from click.shell_completion import CompletionItem

from planner import __version__
from planner.cli.exit_codes import ExitCode
from planner.cli.terminal import say, silence_stdout
from planner.errors import ModelError, PlannerError

# name: (module, object in it, what it does); a test holds the last against the command's own help
_COMMANDS = {
    "estimate": (
        "planner.cli.estimate",
        "estimate",
        "Say whether a training step of TARGET fits on a card, how large a batch, and how fast.",
    ),
    "curve": (
        "planner.cli.curve",
        "curve",
        "Say how fast and how large a training step of TARGET is at each batch on one card.",
    ),
    "compare": (
        "planner.cli.compare",
        "compare",
        "Rank cards by what a training step of TARGET takes on each: time, cost or energy.",
    ),
    "verify": (
        "planner.cli.verify",
        "verify",
        "Search the largest batch of TARGET for real and compare it with the prediction.",
    ),
    "inspect": (
        "planner.cli.inspect",
        "inspect",
        "Count what a training step of TARGET costs, module by module.",
    ),
    "history": (
        "planner.cli.history",
        "history",
        "List the verifications kept on this machine; show, export or delete them.",
    ),
    "gpus": (
        "planner.cli.gpus",
        "gpus",
        "List the known cards; `planner gpus show CARD` shows one of them with its sources.",
    ),
    "cpus": (
        "planner.cli.cpus",
        "cpus",
        "List the known processors; `planner cpus show CPU` shows one of them with its sources.",
    ),
    "doctor": (
        "planner.cli.doctor",
        "doctor",
        "Say whether estimates can run on this machine, and what a report of a bug needs to say.",
    ),
    "hosts": (
        "planner.cli.hosts",
        "hosts",
        "List the known hosts; `planner hosts show HOST` shows one, `show this` measures this one.",
    ),
}


class Root(click.Group):
    """A group whose commands are imported late and whose errors become messages and exit codes."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of the commands, in the order of the help."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, imported now; None when there is none."""
        if cmd_name not in _COMMANDS:
            return None
        module, name, _ = _COMMANDS[cmd_name]
        command: click.Command = getattr(import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands in the help, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, _, text) in _COMMANDS.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Commands and options that begin so, without importing the commands."""
        commands = [
            CompletionItem(name, help=text)
            for name, (_, _, text) in _COMMANDS.items()
            if name.startswith(incomplete)
        ]
        return commands + click.Command.shell_complete(self, ctx, incomplete)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command and its words; a first word that is none is answered with what is meant."""
        if args and self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            from planner.cli.near_commands import what_was_meant

            meant = what_was_meant(args, self.list_commands(ctx))
            ctx.fail(f"No such command {args[0]!r}; {meant}")
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """The words; an option of a command is answered with where it stands."""
        try:
            return super().parse_args(ctx, list(args))
        except click.NoSuchOption as error:
            from planner.cli.near_commands import behind_a_command

            if error.possibilities:  # near an option of this group
                raise
            says = f"{error.format_message().removesuffix('.')}; {behind_a_command(args)}"
            raise click.UsageError(says, ctx) from None

    def main(self, args: Sequence[str] | None = None, *rest: Any, **extra: Any) -> Any:
        """Runs the command line and ends the process (SystemExit) with the exit code."""
        extra["standalone_mode"] = False
        try:
            code = super().main(args, *rest, **extra)
            sys.stdout.flush()
        except PlannerError as error:
            _say_error(str(error), error.frames if isinstance(error, ModelError) else "")
            code = error.exit_code
        except click.UsageError as error:
            command = error.ctx.command_path if error.ctx is not None else "planner"
            _say_error(f"{error.format_message()}\nrun: {command} --help")
            code = error.exit_code
        except click.exceptions.Abort:
            code = ExitCode.INTERRUPTED
        except BrokenPipeError:
            # The reader has left (| head). Python would complain at exit when it flushes.
            silence_stdout()
            code = ExitCode.ERROR
        except OSError as error:
            name = "" if error.filename is None else f"{error.filename}: "
            _say_error(f"{name}{error.strerror or error}")
            code = ExitCode.ERROR
        sys.exit(code or ExitCode.FITS)


def _say_error(message: str, frames: str = "") -> None:
    say(f"error: {message}")
    if frames:
        say(frames)


@click.group(
    cls=Root,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="planner", message="%(prog)s %(version)s")
@click.pass_context
def root(context: click.Context) -> None:
    """Does a PyTorch model fit on a GPU, and how large a batch? Answered without the GPU."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help(), err=True)
        context.exit(ExitCode.USAGE)
