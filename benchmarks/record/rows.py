"""Reads and writes CSV files, and draws reproducible samples and halves of what they hold.

In: files of published figures or of results; lists of held-out cases. Out: rows, and parts of
them. Convention: samples are of whole models, and a name stays in its half, whatever else is run.
"""

from __future__ import annotations

import csv
import hashlib
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.record.environments import REPOSITORY
from benchmarks.record.records import AnyCase, Source

MEASUREMENTS = REPOSITORY / "benchmarks" / "measurements"


def rows(path: Path) -> Iterator[dict[str, str]]:
    """Yields the rows of a CSV file."""
    with path.open(newline="", encoding="utf-8") as file:
        yield from csv.DictReader(file)


def read_cases(source: Source[AnyCase]) -> list[AnyCase]:
    """Returns all published cases of a source, in the order of its file."""
    return [case for row in rows(source.measurements) for case in source.read(source, row)]


def write_rows(path: Path, fields: Sequence[str], content: Iterable[Mapping[str, object]]) -> None:
    """Writes a whole CSV file; a field that a row lacks stays empty."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fields, lineterminator="\n", restval="")
        writer.writeheader()
        writer.writerows(content)


def append_row(path: Path, fields: Sequence[str], row: Mapping[str, object]) -> None:
    """Adds a row, so that an interruption loses none; begins the file if there is none."""
    if not path.is_file():
        write_rows(path, fields, ())
    with path.open("a", newline="", encoding="utf-8") as file:
        csv.DictWriter(file, fields, lineterminator="\n", restval="").writerow(row)


def sample(cases: Sequence[AnyCase], number: int | None, seed: int) -> list[AnyCase]:
    """Draws whole models of one source until there are `number` cases; keeps their order."""
    if number is None or not cases:
        return list(cases)
    models = sorted({case.step.model for case in cases})
    random.Random(f"{seed}:{cases[0].source}").shuffle(models)
    drawn: set[str] = set()
    for model in models:
        if sum(case.step.model in drawn for case in cases) >= number:
            break
        drawn.add(model)
    return [case for case in cases if case.step.model in drawn]


def held_out(path: Path) -> frozenset[str]:
    """Reads the names of cases that judge constants and on which none is ever fitted."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return frozenset(line for line in lines if line and not line.startswith("#"))


def fitting_half(names: Iterable[str], seed: int) -> frozenset[str]:
    """Returns about half of the names, each drawn on its own: on these, constants are fitted."""
    return frozenset(name for name in names if random.Random(f"{seed}:{name}").random() < 0.5)


def half_of(name: str) -> int:
    """Returns 0 or 1, where each half is judged by constants of the other."""
    return int(hashlib.sha256(name.encode()).hexdigest(), 16) % 2
