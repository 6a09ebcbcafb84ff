"""Guesses the intended command where the first word is not a command.

In: the words after `planner`. Out: the end of a message, with the command to type.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from planner.config.near_words import near

_ESTIMATE = ("estimate", "it prints whether the step fits, and the largest batch")
# Other words for the commands; words with letters like those of a command need no row.
_MEANT: dict[str, tuple[str, str]] = {
    **dict.fromkeys(
        (
            "max-batch", "maxbatch", "max-batch-size", "batch", "batch-size", "largest-batch",
            "fit", "fits", "predict", "memory", "vram", "plan",
        ),
        _ESTIMATE,
    ),
    **dict.fromkeys(
        ("batches", "plot", "throughput", "scan"), ("curve", "it shows each batch")
    ),
    **dict.fromkeys(("grid", "matrix"), ("sweep", "it answers a grid of cases")),
    **dict.fromkeys(
        ("rank", "cards", "best", "recommend", "which", "cost"), ("compare", "it ranks the cards")
    ),
    **dict.fromkeys(
        ("profile", "summary", "flops", "count", "params", "modules", "layers"),
        ("inspect", "it counts module by module"),
    ),
    **dict.fromkeys(
        ("measure", "test", "bench", "benchmark", "search", "validate"),
        ("verify", "it searches the largest batch for real"),
    ),
    **dict.fromkeys(
        ("budget", "limits", "lint", "ci"), ("check", "it holds the limits of planner.toml")
    ),
    **dict.fromkeys(("difference", "delta", "regression"), ("diff", "it says what grew")),
    **dict.fromkeys(
        ("train", "script", "launch", "exec"), ("run", "it runs a script as it is")
    ),
    **dict.fromkeys(("gpu", "card", "list", "devices", "ls"), ("gpus", "it lists the cards")),
    **dict.fromkeys(
        ("model", "catalog", "zoo", "hub"), ("models", "it lists published models")
    ),
    **dict.fromkeys(("status", "info", "env", "debug"), ("doctor", "it looks at this machine")),
}  # fmt: skip
_FLAGS = {"version": "--version", "help": "--help"}


def what_was_meant(words: Sequence[str], commands: Sequence[str]) -> str:
    """Returns a hint at the command to type; the first of `words` is not a command."""
    first, rest = words[0], words[1:]
    if _is_target(first):
        return f"a command comes first: planner estimate {shlex.join(words)}"
    name = first.lower().replace("_", "-")
    if name in _FLAGS:
        return f"did you mean planner {_FLAGS[name]}?"
    if name in commands:
        return f"did you mean {shlex.join(['planner', name, *rest])}?"
    if name in _MEANT:
        command, what = _MEANT[name]
        return f"did you mean {shlex.join(['planner', command, *rest])}? {what}"
    guess = near(name, commands, most=1)
    if guess:
        return f"did you mean {shlex.join(['planner', guess, *rest])}?"
    return (
        f"commands: {', '.join(commands)}; a model stands behind one: "
        f"planner estimate {shlex.join(words)}"
    )


def behind_a_command(words: Sequence[str]) -> str:
    """Returns a hint at the command to type where options came first."""
    targets = [word for word in words if _is_target(word)][:1]
    others = [word for word in words if word not in targets]
    typed = shlex.join(["planner", "estimate", *(targets or ["TARGET"]), *others])
    return f"options stand behind the command: {typed}"


def _is_target(word: str) -> bool:
    """Returns whether the word is a file or a model: then the command before it is missing."""
    if word.startswith("-"):
        return False
    path, _, name = word.partition(":")
    return path.endswith(".py") or "/" in path or bool(name) or Path(path).is_file()
