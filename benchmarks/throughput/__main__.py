"""`python -m benchmarks.throughput`: count, fit, judge, write the page and the table.

With `--fit` the efficiencies that planner ships and the record are written anew. Without it only
the page is printed, and "as shipped" means the new efficiencies. `--known --shipped` takes seconds:
it judges the planner of the checkout on earlier counts, for a change to the model of time.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from benchmarks.environments import REPOSITORY
from benchmarks.throughput.cases import SOURCES, held_out
from benchmarks.throughput.counting import Counted, counted
from benchmarks.throughput.fitting import LAUNCH_US, rows
from benchmarks.throughput.judging import Judged, judge, quantile
from benchmarks.throughput.page import page
from benchmarks.throughput.records import Case
from benchmarks.throughput.shipped import table
from planner.timing.efficiency import FILE

CSV_FILE = Path(__file__).with_name("results.csv")
PAGE = REPOSITORY / "docs" / "throughput.md"
_TRAINING = ("rtx3090-nchw", "rtx3090-nhwc", "h100-training")
_INFERENCE = ("rtx4090-infer", "rtx5090-infer")
_COVERAGE = 0.8


def main(arguments: Sequence[str] | None = None) -> int:
    """Counts, fits, judges and writes, in this order."""
    options = _parser().parse_args(arguments)
    found: list[Counted] = []
    for source in SOURCES:
        cases = list(SOURCES[source]())
        if options.sample is not None and len(cases) > options.sample:
            cases = random.Random(options.seed).sample(cases, options.sample)
        for one in counted(cases, jobs=options.jobs, only_known=options.known):
            found.append(one)
            print(f"{one.case.name} {one.trouble}", file=sys.stderr, flush=True)
    if options.shipped:
        print("\n".join(table(found)))
        return 0
    good = sorted((one for one in found if one.operators), key=lambda one: one.case.name)
    data = rows(good)
    cases = [one.case for one in good]
    judged = judge(data, cases, held_out())
    troubles = [one for one in found if not one.operators]
    text = page(cases, judged, troubles, options.date)
    if options.fit:  # a sample, or a try, leaves the record as it is
        _write_csv(options.csv, cases, judged)
        options.page.write_text(text, encoding="utf-8")
        FILE.write_text(_shipped(data.keys, cases, judged), encoding="utf-8")
    print(text)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.throughput",
        description="Hold predicted step times against published ones.",
    )
    parser.add_argument("--sample", type=int, help="at most so many cases of each source")
    parser.add_argument("--seed", type=int, default=1, help="of the sample (1)")
    parser.add_argument("--jobs", type=int, default=2, help="children side by side (2)")
    parser.add_argument("--known", action="store_true", help="only cases counted before")
    parser.add_argument("--fit", action="store_true", help="write efficiencies and record anew")
    parser.add_argument(
        "--shipped",
        action="store_true",
        help="fit nothing: the errors of planner as it is, by source and card",
    )
    parser.add_argument("--csv", type=Path, default=CSV_FILE, help="the cases, one row each")
    parser.add_argument("--page", type=Path, default=PAGE, help="the record, in Markdown")
    parser.add_argument("--date", default=date.today().isoformat(), help="on the page (today)")
    return parser


def _write_csv(path: Path, cases: Sequence[Case], judged: Judged) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(
            ("source", "case", "card", "batch_size", "held_out", "measured_s", "other_half_s",
             "left_out_s", "shipped_s")
        )  # fmt: skip
        for number, case in enumerate(cases):
            half, left_out = (
                "" if found is None else f"{found:.6g}"
                for found in (judged.by_halves.get(number), judged.left_out.get(number))
            )
            writer.writerow(
                (
                    case.source,
                    case.name,
                    case.card,
                    case.batch_size,
                    "yes" if number in judged.held_out else "no",
                    f"{case.measured_s:.6g}",
                    half,
                    left_out,
                    f"{judged.shipped[number]:.6g}",
                )
            )


def _shipped(keys: Sequence[str], cases: Sequence[Case], judged: Judged) -> str:
    """Returns efficiency.json: shares by the key of a kernel, and the errors of judged cases."""
    found = judged.constants.efficiencies(keys)
    document = {
        "compute": {key: round(found.compute[key], 4) for key in sorted(keys)},
        "bandwidth": {key: round(found.bandwidth[key], 4) for key in sorted(keys)},
        "kernel_us": round(found.kernel_s * 1e6, 3),
        "launch_us": LAUNCH_US,
        "cache_gain": round(found.cache_gain, 3),
        "cache_reach": round(found.cache_reach, 3),
        "training": _spread(cases, judged, _TRAINING, "training runs on an RTX 3090 and an H100"),
        "inference": _spread(cases, judged, _INFERENCE, "inference runs on RTX 4090 and 5090"),
    }
    return json.dumps(document, indent=1) + "\n"


def _spread(
    cases: Sequence[Case], judged: Judged, sources: Sequence[str], what: str
) -> dict[str, object]:
    """Returns the range of measured / predicted; left-out cards use constants from the others."""
    ratios = [
        cases[number].measured_s / judged.left_out.get(number, by_half_s)
        for number, by_half_s in judged.by_halves.items()
        if cases[number].source in sources
    ]
    rest = (1 - _COVERAGE) / 2
    return {
        "low": round(quantile(ratios, rest), 3),
        "high": round(quantile(ratios, 1 - rest), 3),
        "coverage": _COVERAGE,
        "basis": f"{len(ratios)} published {what} (docs/throughput.md)",
    }


if __name__ == "__main__":
    sys.exit(main())
