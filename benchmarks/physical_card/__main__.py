"""The first hour on a physical card: predictions against measurements, by one command.

    python -m benchmarks.physical_card [--minutes 8] [--models a,b] [--emulated h100] [--json FILE]

For a bare machine with a card, torch of its own and no network (README.md in this folder). Rows,
the most useful first: peaks and context overhead of all models in three precisions, the tests of
`pytest -m gpu`, largest batches, step times. Each row is printed as it ends and written to the
file. Rows that the time does not reach are listed. `--emulated` uses an emulated card instead of
the physical one: nothing is measured then. Exit code 0 when every row was reached and none failed,
else 1.
"""

from __future__ import annotations

import argparse
import datetime
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.command import ROOT, run_command
from benchmarks.physical_card.rows import Kind, Result, Row, Status, rows
from benchmarks.physical_card.running import Results, Run, document, run_rows, write_whole

FILE = Path("physical-card.json")
_MIB = 2**20
# Time at the end for ending a command and writing the file.
_SPARE_S = 5.0
_ABOUT_TORCH = (
    "import torch; print(torch.__version__, torch.version.cuda, torch.backends.cudnn.version(), "
    "torch.cuda.get_device_name() if torch.cuda.is_available() else 'no card')"
)


def main(argv: Sequence[str] | None = None, run: Run = run_command) -> int:
    """Runs the rows; see the module's text."""
    begun = time.monotonic()
    known = sorted(path.stem for path in (ROOT / "models").glob("*.py"))
    arguments = _arguments(argv, known)
    models = arguments.models.split(",")
    if not set(models) <= set(known):
        print(f"no such model: {arguments.models}; there are {', '.join(known)}", file=sys.stderr)
        return 2
    facts = _facts(arguments)
    print(*(f"{name}: {value}" for name, value in facts.items()), sep="\n", flush=True)
    print("row", "status", "s", *_HEADS, "", sep="\t", flush=True)
    left_s = arguments.minutes * 60 - _SPARE_S - (time.monotonic() - begun)
    results = run_rows(
        rows(models, arguments.emulated),
        limit_s=left_s,
        on_a_card=not arguments.emulated,
        run=run,
        after_each=partial(_keep, arguments.json, facts),
    )
    missed = [row.name for row, found in results if found.status is Status.NOT_REACHED]
    if missed:
        print(f"not reached in {arguments.minutes:g} min ({len(missed)}): {'; '.join(missed)}")
    good = sum(found.status is Status.DONE for _, found in results)
    print(f"{good} of {len(results)} rows done; all of them are in {arguments.json}")
    return 0 if good == len(results) else 1


def _keep(path: Path, facts: dict[str, Any], results: Results) -> None:
    """Writes the file, and prints the row that has just ended."""
    write_whole(path, document(facts, results))
    ended = [pair for pair in results if pair[1].status is not Status.NOT_REACHED]
    if ended:
        print(*_cells(*ended[-1]), sep="\t", flush=True)


_HEADS = ("allocated MiB", "reserved MiB", "context MiB", "largest batch", "step ms")
_SHOWN = (
    ("peak_allocated_bytes", _MIB),
    ("peak_reserved_bytes", _MIB),
    ("context_overhead_bytes", _MIB),
    ("max_batch_size", 1),
    ("step_s", 1e-3),
)


def _cells(row: Row, found: Result) -> list[str]:
    """Returns the row of the table; a figure is predicted/measured."""

    def shown(value: float | None, unit: float) -> str:
        return (
            "-" if value is None else f"{value / unit:.5g}" if unit < 1 else f"{value / unit:.0f}"
        )

    figures = []
    for name, unit in _SHOWN:
        both = found.quantities.get(name, {})
        limited = name == "max_batch_size" and row.kind is not Kind.LARGEST_BATCH
        sides = [
            shown(None if limited else both.get(side), unit) for side in ("predicted", "measured")
        ]
        figures.append("/".join(sides))
    words = found.error or "; ".join(found.remarks)
    if row.kind is Kind.GPU_TESTS and found.document:
        words = found.document["summary"]
    text = words.replace("\n", " ")[-200:]
    return [row.name, found.status.value, f"{found.seconds or 0:.0f}", *figures, text]


def _facts(arguments: argparse.Namespace) -> dict[str, Any]:
    """Returns facts about this machine and this run, for the file."""
    card = ("nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader")
    return {
        "started": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "minutes": arguments.minutes,
        "emulated": arguments.emulated,
        "measured_on_a_card": arguments.emulated is None,
        "python": platform.python_version(),
        "machine": platform.platform(),
        "torch": _said(sys.executable, "-c", _ABOUT_TORCH),
        "nvidia_smi": _said(*card),
    }


def _said(*command: str) -> str:
    """Returns the output of a command, or why it has none."""
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"no answer: {error}"
    return ended.stdout.strip() or f"no answer: {ended.stderr.strip()[-200:]}"


def _arguments(argv: Sequence[str] | None, models: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--minutes", type=float, default=8.0, help="it ends by itself before")
    parser.add_argument("--models", default=",".join(models), help="names in models/, by commas")
    parser.add_argument("--emulated", metavar="NAME", help="an emulated card; nothing is measured")
    parser.add_argument("--json", type=Path, default=FILE, help="the file with all rows")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
