"""`python -m benchmarks.accuracy`: predict, judge, write the CSV file and the page.

An interrupted run goes on where it ended: cases whose row in the CSV file was predicted with the
same versions are not run again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from benchmarks.accuracy import page, results
from benchmarks.accuracy.judging import judge
from benchmarks.accuracy.reading import read_cases, sample, saturated
from benchmarks.accuracy.records import Case, Judged, Result, Verdict
from benchmarks.accuracy.running import run, versions_of
from benchmarks.accuracy.sources import SOURCES
from benchmarks.environments import REPOSITORY

CSV_FILE = Path(__file__).with_name("results.csv")
PAGE = REPOSITORY / "docs" / "accuracy.md"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs all; exit code 1 if an H100 case is beyond its bound; reports the other sources."""
    options = _parser().parse_args(arguments)
    names = options.source or list(SOURCES)
    judged: list[Judged] = []
    if not options.judge_only:
        for name in names:
            cases = [
                case
                for case in read_cases(SOURCES[name])
                if not options.model or case.model in options.model
            ]
            _predict(sample(cases, options.sample, options.seed), options.csv, options.jobs)
    judged = judge_all(options.csv)
    results.write(options.csv, judged)
    options.page.parent.mkdir(parents=True, exist_ok=True)
    options.page.write_text(page.page(judged, options.date), encoding="utf-8")
    print(f"{len(judged)} cases in {options.csv}; {options.page} written", file=sys.stderr)
    exact = [one for one in judged if one.result.case.source == "h100-peaks"]
    return 1 if any(one.verdict is Verdict.BEYOND for one in exact) else 0


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


def _predict(cases: Sequence[Case], path: Path, jobs: int) -> None:
    known = results.read_predictions(path)
    if not cases:
        return
    versions = versions_of(SOURCES[cases[0].source].environment)
    missing = [
        case for case in cases if known.get((case.source, case.name), (None, ""))[1] != versions
    ]
    print(
        f"{cases[0].source}: {len(cases)} cases, {len(cases) - len(missing)} known",
        file=sys.stderr,
    )
    for number, result in enumerate(run(missing, jobs=jobs), start=1):
        results.append(path, result)
        trouble = result.prediction.trouble
        print(f"{number}/{len(missing)} {result.case.name} {trouble or 'done'}", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.accuracy",
        description="Hold predictions against published measurements, and write the record.",
    )
    parser.add_argument(
        "--source", action="append", choices=tuple(SOURCES), help="only this one (repeatable)"
    )
    parser.add_argument("--model", action="append", help="only this one (repeatable)")
    parser.add_argument(
        "--sample", type=int, help="whole models of each source, until there are N cases"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the sample (0)")
    parser.add_argument("--jobs", type=int, default=2, help="worker processes (2)")
    parser.add_argument("--csv", type=Path, default=CSV_FILE, help="the cases, one row each")
    parser.add_argument("--page", type=Path, default=PAGE, help="the record, in Markdown")
    parser.add_argument("--date", default=date.today().isoformat(), help="on the page (today)")
    parser.add_argument(
        "--judge-only", action="store_true", help="run nothing: judge what the CSV file holds"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
