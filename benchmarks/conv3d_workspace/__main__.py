"""`python -m benchmarks.conv3d_workspace`: run the comparison in an environment for each torch."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from benchmarks.conv3d_workspace.published import PUBLISHED
from benchmarks.record.environments import REPOSITORY, interpreter

TORCH_VERSIONS = tuple(dict.fromkeys(row.torch_version for row in PUBLISHED))


def main() -> int:
    """Starts run.py in the right environments; exit code 1 if one of them returns it."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.conv3d_workspace",
        description="Hold predicted peaks of F.conv3d against those published for an H100.",
    )
    parser.add_argument(
        "--torch",
        choices=TORCH_VERSIONS,
        action="append",
        help="only this version of torch (repeatable; default: all)",
    )
    parser.add_argument(
        "--python",
        type=Path,
        help="an interpreter with planner's dependencies and one of these versions of torch",
    )
    options = parser.parse_args()
    if options.python:
        pythons = [options.python]
    else:
        pythons = [interpreter(f"torch-{name}") for name in options.torch or TORCH_VERSIONS]
    codes = [
        subprocess.run(
            [str(python), "-m", "benchmarks.conv3d_workspace.run"], cwd=REPOSITORY
        ).returncode
        for python in pythons
    ]
    return 1 if any(codes) else 0


if __name__ == "__main__":
    sys.exit(main())
