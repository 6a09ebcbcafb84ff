"""The command of a script as words: where its Python is, and what cannot be run.

In: the words after `--`. Out: ScriptCommand. Convention: the words are run as they are; nothing is
added, and at most one value is replaced (the batch).
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from planner.errors import UsageError

_PYTHON = re.compile(r"(python|pypy)\d*(\.\d+)*")
_SHELLS = ("sh", "bash", "dash", "zsh", "fish")
_IGNORES_ENVIRONMENT = frozenset("IES")
_SHEBANG_BYTES = 1024
_EXAMPLE = "planner run --gpu h100 -- python train.py"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptCommand:
    """The words, and those that start its interpreter: `python`, `uv run python`, a shebang's.

    `given` are the caller's words, where others are run (a notebook's script); none: the same.
    """

    words: tuple[str, ...]
    interpreter: tuple[str, ...]
    given: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """Returns the command as the caller gave it, as a shell takes it."""
        return shlex.join(self.given or self.words)


def script_command(words: Sequence[str], working: Path) -> ScriptCommand:
    """Returns the command of these words.

    Raises:
        UsageError: there is none, its program or script is not there, or it hides from planner.
    """
    if not words or not words[0].strip():
        raise UsageError(f"say which command trains, after --: {_EXAMPLE}")
    first = _program(words[0], working)
    for index, word in enumerate(words):
        if is_python(word):
            _check_python(words[index + 1 :], working)
            return ScriptCommand(words=tuple(words), interpreter=tuple(words[: index + 1]))
    return ScriptCommand(words=tuple(words), interpreter=_of_program(first))


def is_python(word: str) -> bool:
    """Returns whether the word starts an interpreter of Python, as its name says."""
    return _PYTHON.fullmatch(Path(word).name) is not None


def _program(word: str, working: Path) -> Path:
    """Returns the file of the first word.

    Raises:
        UsageError: there is none that can be run.
    """
    found = shutil.which(word) if "/" not in word else shutil.which(working / word)
    if found is not None:
        return Path(found)
    if word.endswith(".py"):
        raise UsageError(f"{word} is a Python file, not a command: write `python {word}` after --")
    raise UsageError(f"there is no command {word!r} here; the command is run as it is: {_EXAMPLE}")


def _check_python(rest: Sequence[str], working: Path) -> None:
    """Refuses options that keep planner out of the interpreter, and a script that is not there."""
    for word in rest:
        if not word.startswith("-"):
            file = working / word
            if word.endswith(".py") and not file.is_file():
                raise UsageError(f"there is no script {word} in {working}")
            return
        if word in ("-m", "-c", "-"):
            return
        if not word.startswith("--") and _IGNORES_ENVIRONMENT & set(word[1:]):
            raise UsageError(
                f"python {word} ignores PYTHONPATH and sitecustomize, by which planner emulates "
                "the card: leave that option out"
            )
    raise UsageError(f"the command starts Python without a script: {_EXAMPLE}")


def _of_program(program: Path) -> tuple[str, ...]:
    """Returns the interpreter of a program: of its first line, else the `python` of this place."""
    with program.open("rb") as file:
        lines = file.read(_SHEBANG_BYTES).decode("utf-8", "replace").splitlines()
    if lines and lines[0].startswith("#!"):
        words = lines[0][2:].split()
        if Path(words[0]).name == "env":
            words = [word for word in words[1:] if not word.startswith("-")]
        # pip's form where the path of the interpreter is too long for a first line
        if Path(words[0]).name in _SHELLS and len(lines) > 1 and lines[1].startswith("'''exec'"):
            words = shlex.split(lines[1].removeprefix("'''exec'"))
        if words and is_python(words[0]):
            return (words[0],)
    return ("python" if shutil.which("python") else "python3",)


def with_value(words: Sequence[str], name: str, value: int) -> tuple[str, ...]:
    """Returns the words with another value of an argument; `name` as in batch_place().

    Raises:
        UsageError: the argument is not among them.
    """
    index, head = batch_place(words, name)
    return (*words[:index], f"{head}{value}", *words[index + 1 :])


def batch_place(words: Sequence[str], name: str) -> tuple[int, str]:
    """Returns the index of the word that holds an argument's value, and what precedes it there.

    `name` is an option (--batch_size: its value is the next word, or follows `=`) or a key with
    `=` at its end (batch_size=).

    Raises:
        UsageError: the argument is not among the words, or its value is no whole number.
    """
    for index, word in enumerate(words):
        head = name if name.endswith("=") else f"{name}="
        if word.startswith(head):
            return _checked(words, index, head, name)
        if word == name and index + 1 < len(words):
            return _checked(words, index + 1, "", name)
    raise UsageError(
        f"the batch argument {name} is not in the command {shlex.join(words)}; give it there with "
        "its value, as --batch_size 8 or batch_size=8"
    )


def _checked(words: Sequence[str], index: int, head: str, name: str) -> tuple[int, str]:
    value = words[index][len(head) :]
    if not value.isdecimal() or int(value) < 1:
        raise UsageError(f"the value of {name} is {value!r}, and must be a whole number from 1 on")
    return index, head


def environment_of(extra: str) -> str:
    """Returns a PYTHONPATH with `extra` in front of that of this environment."""
    return os.pathsep.join([extra, *filter(None, [os.environ.get("PYTHONPATH")])])
