"""Asks the Python of a script a question: code that prints one JSON document after a mark.

In: the words that start it, the code. Out: the document. Convention: whatever else it prints is
left aside; it is a process of its own, without input.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from planner.errors import UsageError

MARK = "planner-interpreter "  # a question prints it before its document


def answer_of(
    interpreter: Sequence[str],
    question: str,
    arguments: Sequence[str],
    *,
    working: Path,
    patience_s: float,
    not_started: str,
    no_answer: str,
) -> dict[str, Any]:
    """Returns the document that the question prints.

    Raises:
        UsageError: it does not start or end in time (begins with `not_started`), or it prints no
        document (begins with `no_answer`).
    """
    try:
        done = subprocess.run(
            [*interpreter, "-c", question, *arguments],
            cwd=working,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            text=True,
            errors="replace",
            timeout=patience_s,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UsageError(f"{not_started}: {error}") from error
    answers = [line for line in done.stdout.splitlines() if line.startswith(MARK)]
    if not answers:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise UsageError(f"{no_answer}: {lines[-1]}")
    found: dict[str, Any] = json.loads(answers[-1].removeprefix(MARK))
    return found
