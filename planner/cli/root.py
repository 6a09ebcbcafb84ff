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
from planner.cli.terminal import print_text, say, silence_stdout
from planner.errors import ModelError, PlannerError

# heading: {name: (module, summary)}; the object in the module has the name of the command. A test
# compares the summaries with the commands' own help, and checks that they fit on a line of 80.
_COMMANDS = {
    "Ask": {
        "estimate": (
            "planner.cli.estimate",
            "Say whether a step fits on a card, how large a batch, how fast.",
        ),
        "curve": (
            "planner.cli.curve",
            "Say how fast and how large a step is at each batch on one card.",
        ),
        "compare": ("planner.cli.compare", "Rank cards for a step: by time, cost or energy."),
        "advise": (
            "planner.cli.advise",
            "Try changes that make a step fit, and say which to take.",
        ),
        "parallelize": (
            "planner.cli.parallelize",
            "Search how to spread a step over several GPUs.",
        ),
        "serving": (
            "planner.cli.serving",
            "Say what a model that is served takes, and what its cache holds.",
        ),
        "check": ("planner.cli.check", "Hold the limits of a project's file, for a CI job."),
        "diff": ("planner.cli.diff", "Say what grew between two results, revisions or options."),
        "run": ("planner.cli.run", "Run a script, unchanged, on an emulated card."),
        "sweep": (
            "planner.cli.sweep",
            "Answer a grid of targets, cards and options; resumable.",
        ),
    },
    "Measure": {
        "verify": (
            "planner.cli.verify",
            "Search the largest batch for real, and compare the prediction.",
        ),
        "inspect": ("planner.cli.inspect", "Count what a step costs, module by module."),
        "history": (
            "planner.cli.history",
            "List, show, export or delete kept verifications and traces.",
        ),
        "learn": (
            "planner.cli.learn",
            "Say what an out-of-memory message, vLLM's log or a profile means.",
        ),
        "report": ("planner.cli.report", "Write a result as one page of HTML, with pictures."),
        "show": ("planner.cli.show", "Print a saved result again: of --save or of --json."),
        "export": ("planner.cli.export", "Write the memory of a saved result for another tool."),
    },
    "See": {
        "ui": ("planner.cli.ui", "Ask for estimates and compare them, in the browser."),
    },
    "Models": {
        "models": (
            "planner.cli.models",
            "List published models; `planner models show NAME` shows one.",
        ),
    },
    "Hardware and machine": {
        "gpus": ("planner.cli.gpus", "List the known cards; `planner gpus show CARD` shows one."),
        "cpus": (
            "planner.cli.cpus",
            "List the known processors; `planner cpus show CPU` shows one.",
        ),
        "hosts": (
            "planner.cli.hosts",
            "List the known hosts; `planner hosts show this`: this machine.",
        ),
        "cache": (
            "planner.cli.cache",
            "Show or remove the answers that are kept from run to run.",
        ),
        "doctor": (
            "planner.cli.doctor",
            "Say whether estimates can run on this machine, and why not.",
        ),
    },
}
_MODULES = {name: module for group in _COMMANDS.values() for name, (module, _) in group.items()}
_TO_BEGIN = (
    "planner estimate models/resnet50.py --gpu a100",
    "planner curve models/gpt2.py --gpu a100 --precision amp-bf16",
    "planner compare models/resnet50.py --gpu a100 --gpu h100 --gpu l4",
)


class Root(click.Group):
    """A group whose commands are imported late and whose errors become messages and exit codes."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Returns the names of the commands, in the order of the help."""
        return list(_MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Imports and returns the command of that name; None when there is none."""
        if cmd_name not in _MODULES:
            return None
        command: click.Command = getattr(import_module(_MODULES[cmd_name]), cmd_name)
        return command

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes examples, the commands in groups, then the options; imports no command."""
        with formatter.section("To begin, in a checkout"):
            for example in _TO_BEGIN:
                formatter.write(f"{'':{formatter.current_indent}}{example}\n")
        widest = max(map(len, _MODULES))
        for heading, group in _COMMANDS.items():
            with formatter.section(heading):
                formatter.write_dl(
                    [(f"{name:{widest}}", text) for name, (_, text) in group.items()]
                )
        click.Command.format_options(self, ctx, formatter)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Returns commands and options that begin so, without importing the commands."""
        commands = [
            CompletionItem(name, help=text)
            for group in _COMMANDS.values()
            for name, (_, text) in group.items()
            if name.startswith(incomplete)
        ]
        return commands + click.Command.shell_complete(self, ctx, incomplete)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Returns the command and its words; fails with a hint where there is no such command."""
        if args and self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            from planner.cli.near_commands import what_was_meant

            meant = what_was_meant(args, self.list_commands(ctx))
            ctx.fail(f"No such command {args[0]!r}; {meant}")
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parses the words; fails with a hint where an option comes before its command."""
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
            code = _shown_again(sys.argv[1:]) if args is None else None
            if code is None:
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


def _shown_again(words: Sequence[str]) -> int | None:
    """Prints the kept report of these words, and returns its exit code; None: there is none."""
    if words[:1] != ["estimate"]:
        return None
    from planner.cli.repeat import shown_again  # other commands do not pay for it

    return shown_again(words)


def _say_error(message: str, frames: str = "") -> None:
    say(f"error: {message}")
    if frames:
        say(frames)


@click.group(
    cls=Root,
    invoke_without_command=True,
    subcommand_metavar="COMMAND ...",
    epilog="planner COMMAND --help has the options of a command, and more examples.",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="planner", message="%(prog)s %(version)s")
@click.pass_context
def root(context: click.Context) -> None:
    """Does a PyTorch job fit on a GPU, how large a batch, how fast? No GPU needed."""
    if context.invoked_subcommand is None:
        print_text(f"{context.get_help()}\n")
