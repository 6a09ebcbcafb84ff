"""`python -m benchmarks.accuracy`: predict, judge, write the CSV file and the page.

An interrupted run goes on where it ended: cases whose row in the CSV file was predicted with the
same versions are not run again. `--versions` writes a table of its own and no page: the record is
with the versions that each source names.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.accuracy import page, peaks, results
from benchmarks.accuracy.judging import judge, violations
from benchmarks.accuracy.reading import saturated
from benchmarks.accuracy.records import Case, Judged, Judging, Result
from benchmarks.accuracy.running import run
from benchmarks.accuracy.sources import SOURCES
from benchmarks.record.choosing import add_options, chosen, python_of
from benchmarks.record.environments import REPOSITORY, versions_of
from benchmarks.record.rows import read_cases

CSV_FILE = Path(__file__).with_name("results.csv")
PAGE = REPOSITORY / "docs" / "accuracy.md"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs all; exit code 1 if a source that must hold is beyond its bounds."""
    options = _parser().parse_args(arguments)
    versions = options.versions
    path = options.csv or (CSV_FILE.with_name(f"results-{versions}.csv") if versions else CSV_FILE)
    page_path = options.page or (PAGE if path.resolve() == CSV_FILE else None)
    wanted = {source.name: cases for source, cases in chosen(options, SOURCES)}
    if not any(wanted.values()):
        print("no published case has this name", file=sys.stderr)
        return 2
    if not options.judge_only:
        for name, cases in wanted.items():
            if cases:
                _predict(cases, python_of(options, SOURCES[name]), path, options.jobs)
    judged = judge_all(path)
    results.write(path, judged)
    print(f"{len(judged)} cases in {path}", file=sys.stderr)
    if page_path is not None:
        page_path.parent.mkdir(parents=True, exist_ok=True)
        page_path.write_text(page.page(judged, options.date), encoding="utf-8")
        print(f"{page_path} written", file=sys.stderr)
    return _report(judged, {name: {one.name for one in cases} for name, cases in wanted.items()})


def judge_all(path: Path) -> list[Judged]:
    """Judges every case in the CSV file anew, in the order of the sources and their files."""
    known = results.read_predictions(path)
    judged: list[Judged] = []
    for source in SOURCES.values():
        found = [
            Result(case=case, prediction=known[key][0], versions=known[key][1])
            for case in read_cases(source)
            if (key := (case.source, case.name)) in known
        ]
        judged += judge(source, found, saturated(source))
    return judged


def _report(judged: Sequence[Judged], wanted: dict[str, set[str]]) -> int:
    """Prints the wanted figures that are judged one by one; returns the exit code."""
    code = 0
    for source in SOURCES.values():
        names = wanted.get(source.name, set())
        mine = [one for one in judged if one.result.case.name in names]
        if mine and source.judging is Judging.ABSOLUTE:
            print("\n".join(peaks.lines(mine)))
        if source.must_hold:
            whole = len(mine) == len(read_cases(source))
            beyond = violations(source, mine, whole=whole)
            print("".join(f"{sentence}\n" for sentence in beyond), end="", file=sys.stderr)
            code = 1 if beyond else code
    return code


def _predict(cases: Sequence[Case], python: Path, path: Path, jobs: int) -> None:
    known = results.read_predictions(path)
    versions = versions_of(python)
    missing = [
        case for case in cases if known.get((case.source, case.name), (None, ""))[1] != versions
    ]
    print(
        f"{cases[0].source}: {len(cases)} cases, {len(cases) - len(missing)} known",
        file=sys.stderr,
    )
    for number, result in enumerate(run(missing, python, jobs=jobs), start=1):
        results.append(path, result)
        trouble = result.prediction.trouble
        print(f"{number}/{len(missing)} {result.case.name} {trouble or 'done'}", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.accuracy",
        description="Hold predictions against published measurements, and write the record.",
    )
    add_options(parser, SOURCES, PAGE)
    parser.add_argument(
        "--judge-only", action="store_true", help="run nothing: judge what the CSV file holds"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
