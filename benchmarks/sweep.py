"""Sweeps timm models on six cards of three compute capabilities, killed twice on the way.

In: names of models (benchmarks/sweep_models.txt). Out: whether rows were lost or made twice, the
seconds and the processor time of a model, and the most memory of all processes together.
`--sample 6` takes some of them, evenly; `--choose 200` writes the file anew, from models of at
most 30 M parameters.
"""

from __future__ import annotations

import argparse
import collections
import os
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.command import MARK, ROOT, end_on_signals, marked_processes
from planner.sweeps.case import SweepRow
from planner.sweeps.store import FILE, reading
from planner.units import GIB, format_duration

MODELS = Path(__file__).with_name("sweep_models.txt")
CARDS = "t4,rtx2080ti,a100-sxm4-40gb,a100-sxm4-80gb,rtx3090,a10g"
MOST_S, MOST_BYTES = 3600.0, 8 * GIB
_LOOK_S = 1.0
_SMALL_PARAMETERS = 30_000_000


@dataclass(slots=True, kw_only=True)
class Watched:
    """What was seen of the processes; `mark` is in the environment of each."""

    mark: str = field(default_factory=lambda: uuid.uuid4().hex)
    most_bytes: int = 0
    most_of_a_job_bytes: int = 0
    most_processes: int = 0

    def look(self) -> None:
        """Adds up the memory of all processes, shared pages once."""
        sizes = {pid: _pss_bytes(pid) for pid in marked_processes(self.mark)}
        self.most_bytes = max(self.most_bytes, sum(sizes.values()))
        self.most_processes = max(self.most_processes, len(sizes))
        by_job: dict[int, int] = collections.Counter()
        for pid, size in sizes.items():
            by_job[_job_of(pid, sizes)] += size
        self.most_of_a_job_bytes = max([self.most_of_a_job_bytes, *by_job.values()])


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the sweep to its end; returns 0 where nothing was lost, double or above the bounds."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sweep", description=__doc__)
    parser.add_argument("--sample", type=int, help="so many of the models, evenly")
    parser.add_argument("--choose", type=int, help="write so many names, and run nothing")
    parser.add_argument("--kills", type=int, default=2)
    parser.add_argument("--jobs", type=int)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--out", type=Path, help="a folder to keep; else a temporary one")
    asked = parser.parse_args(arguments)
    end_on_signals()
    if asked.choose:
        MODELS.write_text("".join(f"{name}\n" for name in _small_models(asked.choose)))
        return 0
    names = _evenly(MODELS.read_text().split(), asked.sample)
    with tempfile.TemporaryDirectory(prefix="planner-sweep-") as folder:
        out = asked.out or Path(folder)
        words = [*(f"timm:{name}" for name in names), "--gpu", CARDS, "--out", str(out)]
        words += ["--batch", str(asked.batch), *(["--jobs", str(asked.jobs)] if asked.jobs else [])]
        watched, begun_s = Watched(), time.monotonic()
        cases = len(names) * len(CARDS.split(","))
        for kill in range(1, asked.kills + 2):
            _run(words, out, watched, kill_at=cases * kill // (asked.kills + 1), cases=cases)
        passed_s = time.monotonic() - begun_s
        with reading(out) as store:
            rows = store.rows()
    return _report(rows, cases, passed_s, watched)


def _run(words: Sequence[str], out: Path, watched: Watched, *, kill_at: int, cases: int) -> None:
    """Runs the command until so many rows are kept, then kills it; to its end if that is all."""
    process = subprocess.Popen(
        [sys.executable, "-m", "planner", "sweep", *words],
        cwd=ROOT,
        env={**os.environ, MARK: watched.mark},
        stdout=subprocess.DEVNULL,
    )
    while process.poll() is None:
        time.sleep(_LOOK_S)
        watched.look()
        if kill_at < cases and _rows_in(out) >= kill_at:
            process.send_signal(signal.SIGKILL)
            process.wait()
            print(f"killed with {_rows_in(out)} of {cases} rows", file=sys.stderr)


def _report(rows: Sequence[SweepRow], cases: int, passed_s: float, watched: Watched) -> int:
    runs = {row.target: row for row in rows if row.run_s is not None}
    outcomes = collections.Counter(row.outcome.value for row in rows)
    print(f"{len(rows)} rows of {cases} cases, {len({row.key for row in rows})} of them different")
    print("  ".join(f"{name}: {count}" for name, count in sorted(outcomes.items())))
    for row in rows:
        if row.reason is not None:
            print(f"  {row.target} on {row.gpu}: {row.reason.splitlines()[0]}")
    print(f"{format_duration(passed_s)} in all, {format_duration(passed_s / len(runs))} a model")
    for title, values in (
        ("seconds of a run", [row.run_s or 0.0 for row in runs.values()]),
        ("processor time of a run", [row.run_processor_s or 0.0 for row in runs.values()]),
    ):
        print(
            f"{title}: mean {statistics.mean(values):.1f} s, median {statistics.median(values):.1f}"
            f" s, most {max(values):.1f} s"
        )
    print(
        f"memory: at most {watched.most_bytes / GIB:.2f} GiB in {watched.most_processes} "
        f"processes, {watched.most_of_a_job_bytes / GIB:.2f} GiB in those of one case"
    )
    is_whole = len(rows) == cases == len({row.key for row in rows})
    within = passed_s <= MOST_S and watched.most_bytes <= MOST_BYTES
    return 0 if is_whole and within else 1


def _small_models(count: int) -> list[str]:
    """Returns names of timm's small models, evenly over all of them."""
    import timm  # neither is needed to run the sweep
    import torch

    found = []
    for name in timm.list_models():
        try:
            with torch.device("meta"):
                model = timm.create_model(name)
        except Exception as error:  # some read values while they are built
            print(f"left out: {name}: {error}", file=sys.stderr)
            continue
        if sum(one.numel() for one in model.parameters()) <= _SMALL_PARAMETERS:
            found.append(name)
    return _evenly(found, count)


def _evenly(names: Sequence[str], sample: int | None) -> list[str]:
    count = min(sample or len(names), len(names))
    return [names[index * len(names) // count] for index in range(count)]


def _rows_in(folder: Path) -> int:
    with (
        suppress(sqlite3.Error),
        closing(sqlite3.connect(f"file:{folder / FILE}?mode=ro", uri=True)) as connection,
    ):
        (count,) = connection.execute("SELECT count(*) FROM rows").fetchone()
        return int(count)
    return 0


def _pss_bytes(pid: int) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) << 10
    return 0


def _job_of(pid: int, known: dict[int, int]) -> int:
    """Returns the process of a case that is above this one: the second from the top."""
    above = [pid]
    with suppress(OSError):
        while above[-1] in known:
            text = Path(f"/proc/{above[-1]}/stat").read_text()
            above.append(int(text.rpartition(")")[2].split()[1]))
    inside = [one for one in above if one in known]
    return inside[-2] if len(inside) > 1 else pid


if __name__ == "__main__":
    sys.exit(main())
