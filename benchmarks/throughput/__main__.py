"""`python -m benchmarks.throughput`: count, fit, judge, write the page and the table.

With `--fit` the efficiencies that planner ships and the record are written anew. Without it only
the page is printed, and "as shipped" means the new efficiencies. `--known --shipped` takes seconds:
it judges the planner of the checkout on earlier counts, for a change to the model of time.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from benchmarks.record.choosing import add_options, chosen, python_of
from benchmarks.record.environments import REPOSITORY
from benchmarks.record.rows import held_out, write_rows
from benchmarks.throughput.counting import counted
from benchmarks.throughput.fitting import Rows, rows, seen
from benchmarks.throughput.judging import Judged, judge
from benchmarks.throughput.page import page
from benchmarks.throughput.reading import HELD_OUT
from benchmarks.throughput.records import Case, Counted
from benchmarks.throughput.shipped import table
from benchmarks.throughput.sources import SOURCES
from benchmarks.throughput.spreading import scales_of
from planner.timing import issue, spread
from planner.timing.efficiency import FILE

CSV_FILE = Path(__file__).with_name("results.csv")
PAGE = REPOSITORY / "docs" / "throughput.md"
_FIELDS = (
    "source", "case", "card", "batch_size", "held_out", "use", "measured_s", "other_half_s",
    "left_out_s", "other_cards_s", "shipped_s",
)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Counts, fits, judges and writes, in this order."""
    torch.set_num_threads(1)  # operators on so few numbers lose more to threads than they gain
    options = _parser().parse_args(arguments)
    found: list[Counted] = []
    wanted: dict[Path, list[Case]] = {}
    for source, cases in chosen(options, SOURCES):
        wanted.setdefault(python_of(options, source), []).extend(cases)
    for python, cases in wanted.items():
        for one in counted(cases, python, jobs=options.jobs, only_known=options.known):
            found.append(one)
            print(f"{one.case.name} {one.trouble}", file=sys.stderr, flush=True)
    if options.shipped:
        print("\n".join(table(found)))
        return 0
    good = sorted((one for one in found if one.operators), key=lambda one: one.case.name)
    data = rows(good)
    cases = [one.case for one in good]
    judged = judge(data, good, held_out(HELD_OUT))
    troubles = [one for one in found if not one.operators]
    text = page(cases, judged, troubles, options.date)
    if options.fit:  # a sample, or a try, leaves the record as it is
        write_rows(options.csv or CSV_FILE, _FIELDS, _results(cases, judged))
        (options.page or PAGE).write_text(text, encoding="utf-8")
        FILE.write_text(_shipped(data, judged), encoding="utf-8")
        issue.FILE.write_text(_issue(judged), encoding="utf-8")
        spread.FILE.write_text(spread.text_of(_spreads(judged)), encoding="utf-8")
    print(text)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.throughput",
        description="Hold predicted step times against published ones.",
    )
    add_options(parser, SOURCES, PAGE)
    parser.add_argument("--known", action="store_true", help="only cases counted before")
    parser.add_argument("--fit", action="store_true", help="write efficiencies and record anew")
    parser.add_argument(
        "--shipped",
        action="store_true",
        help="fit nothing: the errors of planner as it is, by source and card",
    )
    return parser


def _results(cases: Sequence[Case], judged: Judged) -> Iterator[dict[str, object]]:
    """Yields the rows of the CSV file."""
    for number, case in enumerate(cases):
        half, left_out, other_cards = (
            "" if found is None else f"{found:.6g}"
            for found in (
                judged.by_halves.get(number),
                judged.left_out.get(number),
                judged.by_cards.get(number),
            )
        )
        yield {
            "source": case.source,
            "case": case.name,
            "card": case.step.card,
            "batch_size": case.step.batch_size,
            "held_out": "yes" if number in judged.held_out else "no",
            "use": case.use.value,
            "measured_s": f"{case.measured_s:.6g}",
            "other_half_s": half,
            "left_out_s": left_out,
            "other_cards_s": other_cards,
            "shipped_s": f"{judged.shipped[number]:.6g}",
        }


def _shipped(data: Rows, judged: Judged) -> str:
    """Returns efficiency.json: shares by the key of a kernel."""
    keys, found = data.keys, judged.constants.efficiencies(data.keys)
    of_tables = {data.keys[key] for key in data.key[data.table_s > 0].unique().tolist()}
    document = {
        "compute": {key: round(found.compute[key], 4) for key in sorted(keys)},
        "bandwidth": {key: round(found.bandwidth[key], 4) for key in sorted(keys)},
        "tables": {key: round(found.tables[key], 4) for key in sorted(of_tables)},
        "unseen": sorted(itertools.compress(keys, (~seen(data, judged.fitted)).tolist())),
        "kernel_us": round(found.kernel_s * 1e6, 3),
        "cache_gain": round(found.cache_gain, 3),
        "cache_reach": round(found.cache_reach, 3),
    }
    return json.dumps(document, indent=1) + "\n"


def _issue(judged: Judged) -> str:
    """Returns issue.json with the costs of convolutions that were fitted."""
    document = json.loads(issue.FILE.read_text(encoding="utf-8"))
    costs = judged.constants.issue_costs()
    document["costs"] |= {
        "convolution_us": round(1e6 * costs.convolution_s, 2),
        "convolution_backward_us": round(1e6 * costs.convolution_backward_s, 2),
    }
    return json.dumps(document, indent=1) + "\n"


def _spreads(judged: Judged) -> spread.Spreads:
    """Returns the figures of the interval, fitted on the errors of all steps."""
    number = sum(one.is_judged for one in judged.samples)
    words = f"{number} published steps (docs/throughput.md)"
    return spread.Spreads(measured=judged.measured, scales=scales_of(judged.samples, words))


if __name__ == "__main__":
    sys.exit(main())
