"""`planner learn LOG`: what a message, a log or a trace of torch.profiler says, on stdout."""

from __future__ import annotations

import sys
from collections import deque
from functools import partial
from pathlib import Path
from typing import BinaryIO

import click

from planner.cli import completion
from planner.cli import options as shared
from planner.cli.output import print_json
from planner.cli.terminal import print_text
from planner.errors import UsageError
from planner.questions import learn as question
from planner.questions.learn_trace import learn_trace
from planner.render.outside_text import shown
from planner.render.terminal.learned import LOOKED_FOR, learned_lines
from planner.render.terminal.learned_trace import learned_trace_lines

_CHUNK_BYTES, _CHUNKS = 1 << 20, 16  # the end of a longer log: an error is the last that it says
_GZIP = b"\x1f\x8b"
_EXIT_CODES = """\b
Exit codes:
  0  done
  1  error: the file cannot be read
  2  wrong usage: an unknown card, a text that says nothing about memory, a trace without kernels,
     without shapes or of another card
"""


@click.command(epilog=_EXIT_CODES)
@click.argument(
    "log", required=False, type=click.Path(exists=True, dir_okay=False, allow_dash=True)
)
@click.option(
    "--gpu",
    metavar="NAME",
    shell_complete=completion.cards(several=False),
    help="The card, like a10g: PyTorch's message has only its memory, a trace has its name.",
)
@click.option("--no-keep", is_flag=True, help="Keep nothing in the history.")
@shared.as_json
def learn(log: str | None, gpu: str | None, no_keep: bool, as_json: bool) -> None:
    """Say what an out-of-memory message, vLLM's log or a profile means.

    LOG is a file with the message anywhere in it, or - for stdin; without LOG it is read from
    stdin, where it can be pasted (end with Ctrl-D). With --gpu, the context overhead that the
    message measures is kept in `planner history`.

    LOG may also be a trace that torch.profiler exported with record_shapes=True, .json or .json.gz:
    the times of its kernels are compared with predicted ones and kept, and later estimates for
    the same card use them.
    """
    if log is not None and log != "-" and _is_trace(Path(log)):
        traced = learn_trace(log, gpu=gpu, keep=not no_keep)
        if as_json:
            print_json(traced.to_dict())
        else:
            print_text("".join(f"{shown(line)}\n" for line in learned_trace_lines(traced)))
        return
    found = question.learn(_text(log), gpu=gpu, keep=not no_keep)
    if not found.messages and found.vllm is None:
        where = "the text" if log in (None, "-") else log
        raise UsageError(
            f"{where} has {LOOKED_FOR}; give the whole message, with its line breaks or without"
        )
    if as_json:
        print_json(found.to_dict())
        return
    print_text("".join(f"{shown(line)}\n" for line in learned_lines(found)))


def _is_trace(file: Path) -> bool:
    """Returns whether the file is a chrome trace, or has its ending and no message in it."""
    with file.open("rb") as opened:
        head = opened.read(_CHUNK_BYTES)
    if head.startswith(_GZIP) or b'"traceEvents"' in head:
        return True
    return file.name.endswith((".json", ".json.gz")) and b"out of memory" not in head


def _text(log: str | None) -> str:
    if log is None or log == "-":
        return _end_of(sys.stdin.buffer)
    with Path(log).open("rb") as file:
        return _end_of(file)


def _end_of(file: BinaryIO) -> str:
    """Returns the text, or the end of one that is too long to look through."""
    chunks = deque(iter(partial(file.read, _CHUNK_BYTES), b""), maxlen=_CHUNKS)
    return b"".join(chunks).decode("utf-8", "replace")
