"""Run every hostile file as a whole command, and check all that is promised of it.

    python -m benchmarks.faults [--runs N] [--only NAMES] [--minutes M] [--checkout DIR]

One row per file: runs, wrong runs, exit codes, the slowest run, the faults. Checked: the right exit
code and message for the file, no traceback of planner, strict JSON, an empty stdout with an error,
no process and no temporary file left, an answer in the time. Files that the time does not reach are
listed. Exit code 1 when a run was wrong or a file was not reached.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from benchmarks.command import ROOT, end_on_signals, faults, run_command
from benchmarks.faults.cases import CASES, Case


def main() -> int:
    """Prints the table; see the module's text."""
    end_on_signals()
    arguments = _arguments()
    names = arguments.only.split(",") if arguments.only else [case.name for case in CASES]
    unknown = set(names) - {case.name for case in CASES}
    if unknown:
        print(f"no such file: {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    ends = time.monotonic() + arguments.minutes * 60
    wrong, not_reached = 0, []
    print("file", "runs", "wrong", "codes", "slowest s", "", sep="\t", flush=True)
    for case in (case for case in CASES if case.name in names):
        if time.monotonic() > ends:
            not_reached.append(case.name)
            continue
        wrong += _row(case, arguments.runs or case.runs, ends, arguments.checkout)
    if not_reached:
        print(f"not reached: {', '.join(not_reached)}")
    print(f"{wrong} wrong runs", file=sys.stderr)
    return 1 if wrong or not_reached else 0


def _row(case: Case, runs: int, ends: float, checkout: Path) -> int:
    """Runs a file and prints its row; returns the number of wrong runs."""
    seconds: list[float] = []
    codes: set[int] = set()
    found: list[tuple[str, ...]] = []
    while len(seconds) < runs and (not seconds or time.monotonic() < ends):
        ended = run_command(case.arguments, limit_s=case.limit_s, checkout=checkout, niceness=5)
        seconds.append(ended.seconds)
        codes.add(ended.code)
        trouble = faults(ended, codes=case.codes, says=case.says)
        if trouble:
            found.append(trouble)
            print(f"{case.name}: {trouble}\n{ended.stderr[-1500:]}", file=sys.stderr, flush=True)
    kinds = "; ".join(sorted({text for trouble in found for text in trouble}))
    few = "" if len(seconds) == runs else f" of {runs} (time)"
    said = ",".join(map(str, sorted(codes)))
    row = (case.name, f"{len(seconds)}{few}", len(found), said, f"{max(seconds):.0f}", kinds)
    print(*row, sep="\t", flush=True)
    return len(found)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "--runs", type=int, help="of each file; else 20 of the rare faults, 3 of others"
    )
    parser.add_argument("--only", help="names, by commas")
    parser.add_argument(
        "--minutes", type=float, default=600.0, help="no run starts after this time"
    )
    parser.add_argument("--checkout", type=Path, default=ROOT, help="whose planner is run")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
