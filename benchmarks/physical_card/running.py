"""Runs the rows until the time is over, and keeps all results in one file after each.

In: Rows, a clock, a function that runs a command. Out: results in the order of the rows.
Convention: a row that was not reached is a result too.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from benchmarks.command import Ended
from benchmarks.physical_card.rows import Kind, Result, Row, Status, result

# No command starts in the last seconds: torch alone takes as long to load.
LEAST_S = 5.0
# The tests may not take the time of all rows after them.
MOST_OF_TESTS = 0.4

Results = list[tuple[Row, Result]]


class Run(Protocol):
    """Runs one command within a time: benchmarks.command.run_command."""

    def __call__(self, arguments: Sequence[str], *, limit_s: float, module: str) -> Ended: ...


def run_rows(
    asked: Sequence[Row],
    *,
    limit_s: float,
    on_a_card: bool,
    run: Run,
    after_each: Callable[[Results], None],
    clock: Callable[[], float] = time.monotonic,
) -> Results:
    """Runs the rows in their order; `after_each` gets all results, those not reached included."""
    ends = clock() + limit_s
    known: list[Result] = []

    def all_results() -> Results:
        missing = [Result(status=Status.NOT_REACHED)] * (len(asked) - len(known))
        return list(zip(asked, [*known, *missing], strict=True))

    after_each(all_results())
    for row in asked:
        left_s = ends - clock()
        if left_s < LEAST_S:
            break
        share = MOST_OF_TESTS if row.kind is Kind.GPU_TESTS else 1.0
        known.append(_one(row, left_s * share, on_a_card, run))
        after_each(all_results())
    return all_results()


def _one(row: Row, limit_s: float, on_a_card: bool, run: Run) -> Result:
    """Runs one row; a failure is a result too."""
    try:
        ended = run(row.arguments, limit_s=limit_s, module=row.module)
        return result(row, ended, on_a_card=on_a_card)
    except (OSError, ValueError, KeyError, TypeError) as error:
        return Result(status=Status.FAILED, error=f"{type(error).__name__}: {error}")


def document(facts: dict[str, Any], results: Results) -> dict[str, Any]:
    """Returns the file's content: the machine, the number of rows by status, and every row."""
    counts = {status.value: sum(r.status is status for _, r in results) for status in Status}
    return {
        "schema_version": 1,
        **facts,
        "counts": counts,
        "rows": [
            {
                "kind": row.kind.value,
                "model": row.model,
                "precision": row.precision,
                "command": ["python", "-m", row.module, *row.arguments],
                **asdict(found),
                "status": found.status.value,
            }
            for row, found in results
        ],
    }


def write_whole(path: Path, content: dict[str, Any]) -> None:
    """Writes the file anew: a reader sees the old one or the new one, never a part."""
    new = path.with_name(f".{path.name}.{os.getpid()}")
    with new.open("w") as file:
        json.dump(content, file, indent=1, allow_nan=False)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
