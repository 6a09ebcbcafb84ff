"""The options of the two commands that choose cases, and where their files are.

In: the sources of a comparison. Out: options, and the chosen cases source by source.
"""

from __future__ import annotations

import argparse
from collections.abc import Collection, Iterator, Mapping
from datetime import date
from pathlib import Path

from benchmarks.record.environments import interpreter
from benchmarks.record.records import AnyCase, Source
from benchmarks.record.rows import read_cases, sample


def add_options(parser: argparse.ArgumentParser, sources: Collection[str], page: Path) -> None:
    """Adds the options that both commands have."""
    parser.add_argument(
        "--source", action="append", choices=tuple(sources), help="only this one (repeatable)"
    )
    parser.add_argument("--model", action="append", help="only this one (repeatable)")
    parser.add_argument("--case", action="append", help="only this run (repeatable)")
    parser.add_argument(
        "--sample", type=int, help="whole models of each source, until there are N cases"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the sample (0)")
    parser.add_argument("--jobs", type=int, default=2, help="worker processes (2)")
    environment = parser.add_mutually_exclusive_group()
    environment.add_argument(
        "--versions",
        choices=("current", "measured"),
        help="torch and timm of today, or of the time of the H100 peaks (as the source has it)",
    )
    environment.add_argument(
        "--python", type=Path, help="an interpreter with these packages; makes no environment"
    )
    parser.add_argument("--csv", type=Path, help="the cases, one row each")
    parser.add_argument("--page", type=Path, help=f"the record, in Markdown ({page.name})")
    parser.add_argument("--date", default=date.today().isoformat(), help="on the page (today)")


def chosen(
    options: argparse.Namespace, sources: Mapping[str, Source[AnyCase]]
) -> Iterator[tuple[Source[AnyCase], list[AnyCase]]]:
    """Yields each chosen source with its cases, or the sample of them."""
    for source in sources.values():
        if options.source and source.name not in options.source:
            continue
        cases = [
            case
            for case in read_cases(source)
            if (not options.model or case.step.model in options.model)
            and (not options.case or case.run in options.case)
        ]
        yield source, sample(cases, options.sample, options.seed)


def python_of(options: argparse.Namespace, source: Source[AnyCase]) -> Path:
    """Returns the interpreter for a source; makes its environment at the first call."""
    python: Path | None = options.python
    return python or interpreter(options.versions or source.environment)
