"""`python -m benchmarks.h100_peaks`: make or find the environment, and run the comparison in it."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from benchmarks.environments import REPOSITORY, interpreter


def main() -> int:
    """Starts run.py in the right environment; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.h100_peaks",
        description="Hold predicted peaks against 38 figures published for a real H100 80GB.",
        epilog="Everything else is passed on: --case NAME, --csv FILE.",
    )
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument(
        "--versions",
        choices=("current", "measured"),
        default="current",
        help="torch and timm of today (default) or of the time of the measurement",
    )
    choice.add_argument(
        "--python",
        type=Path,
        help="an interpreter that has planner's dependencies, timm and transformers 4.46.3",
    )
    options, passed_on = parser.parse_known_args()
    python = options.python or interpreter(options.versions)
    command = [str(python), "-m", "benchmarks.h100_peaks.run", *passed_on]
    return subprocess.run(command, cwd=REPOSITORY).returncode


if __name__ == "__main__":
    sys.exit(main())
