"""Predicted bus bandwidths of collectives, compared with published ones.

    python -m benchmarks.collectives
    python -m benchmarks.collectives --rows

In: `measurements/collectives.csv`, one published bus bandwidth in a row. Out: for each machine and
collective the number of rows, the median signed error of the time and its range from the tenth to
the ninetieth part, separate for rows that a record was fitted on and for those that none has seen;
`--rows`: every row. The error is (predicted - published) / published time. Needs neither torch nor
a card.
"""

from __future__ import annotations

import csv
import sys
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles

from planner.hardware.database import LinkDatabase, load_links
from planner.hardware.link_specs import Collective
from planner.timing.collectives import CollectiveTime, collective_time
from planner.timing.topology import RankGroup, Topology

CSV_FILE = Path(__file__).with_name("measurements") / "collectives.csv"
_GB = 10**9
_SMALL_BYTES = 1 << 20  # below it latency counts more than bandwidth


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One published bus bandwidth, in bytes per second.

    `fitted`: a record has this figure, or a share that was taken from it.
    """

    source: str
    machine: str
    link: str
    network: str | None
    network_bytes_per_s: float | None
    hosts: int
    cards_per_host: int
    collective: Collective
    size_bytes: int
    bus_bytes_per_s: float
    fitted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A row with its prediction; `error` is signed and relative, of the time."""

    row: Row
    predicted: CollectiveTime
    error: float


def rows(path: Path = CSV_FILE) -> list[Row]:
    """Reads the published rows."""
    with path.open(newline="", encoding="utf-8") as file:
        return [_row(record) for record in csv.DictReader(file)]


def _row(record: dict[str, str]) -> Row:
    rate = record["network_gb_per_s"]
    return Row(
        source=record["source"],
        machine=record["machine"],
        link=record["link"],
        network=record["network"] or None,
        network_bytes_per_s=float(rate) * _GB if rate else None,
        hosts=int(record["hosts"]),
        cards_per_host=int(record["cards_per_host"]),
        collective=Collective(record["collective"]),
        size_bytes=int(record["size_bytes"]),
        bus_bytes_per_s=float(record["bus_gb_per_s"]) * _GB,
        fitted=record["used"] == "fitted",
    )


def judged(row: Row, links: LinkDatabase) -> Judged:
    """Predicts a row."""
    topology = Topology(
        cards_per_host=row.cards_per_host,
        hosts=row.hosts,
        intra=links.find(row.link).spec,
        inter=links.find(row.network).spec if row.network else None,
        network_bytes_per_s=row.network_bytes_per_s,
    )
    group = RankGroup(cards_by_host=(row.cards_per_host,) * row.hosts)
    predicted = collective_time(row.collective, row.size_bytes, group, topology)
    error = row.bus_bytes_per_s / predicted.bus_bytes_per_s - 1
    return Judged(row=row, predicted=predicted, error=error)


def _lines(all_rows: Iterable[Judged]) -> list[str]:
    groups: dict[tuple[str, ...], list[float]] = defaultdict(list)
    for one in all_rows:
        row = one.row
        size = "< 1 MiB" if row.size_bytes < _SMALL_BYTES else ">= 1 MiB"
        used = "fitted" if row.fitted else "judged"
        groups[row.machine, row.link, row.collective.value, size, used].append(one.error)
    lines = [
        f"{'machine':28} {'link':16} {'collective':14} {'size':8} {'rows':>4} {'used':6} "
        f"{'median':>8} {'p10':>7} {'p90':>7}"
    ]
    for (machine, link, collective, size, used), errors in groups.items():
        low, high = _range(errors)
        lines.append(
            f"{machine:28} {link:16} {collective:14} {size:8} {len(errors):4} {used:6} "
            f"{median(errors):+8.1%} {low:+7.1%} {high:+7.1%}"
        )
    return lines


def _range(errors: list[float]) -> tuple[float, float]:
    if len(errors) == 1:
        return errors[0], errors[0]
    cuts = quantiles(errors, n=10, method="inclusive")
    return cuts[0], cuts[-1]


def _all_of(name: str, errors: list[float]) -> str:
    sizes = [abs(error) for error in errors]
    low, high = _range(errors)
    return (
        f"{name}: {len(errors)} rows, median error {median(errors):+.1%}, median size "
        f"{median(sizes):.1%}, from {low:+.1%} to {high:+.1%} (p10 to p90), worst "
        f"{max(errors, key=abs):+.1%}"
    )


def _row_line(one: Judged) -> str:
    row = one.row
    return (
        f"{row.source[:24]:24} {row.machine:28} {row.link:20} {row.collective.value:14} "
        f"{row.hosts:3} x {row.cards_per_host:2} {row.size_bytes:12} "
        f"{one.predicted.bus_bytes_per_s / _GB:9.2f} {row.bus_bytes_per_s / _GB:9.2f} "
        f"{one.error:+8.1%} {one.predicted.algorithm.value:9} "
        f"{'fitted' if row.fitted else 'judged'}"
    )


def main(arguments: list[str]) -> None:
    """Prints the table."""
    links = load_links()
    done = [judged(row, links) for row in rows()]
    if "--rows" in arguments:
        head = "source, machine, link, collective, hosts x cards, bytes, predicted and published "
        print(head + "GB/s, error of the time, algorithm, used")
        print(*map(_row_line, done), sep="\n")
    else:
        print(*_lines(done), sep="\n")
    for used in (True, False):
        for name, chosen in (
            ("one host", [one for one in done if one.row.hosts == 1]),
            ("several hosts", [one for one in done if one.row.hosts > 1]),
        ):
            errors = [one.error for one in chosen if one.row.fitted is used]
            print(_all_of(f"{'fitted' if used else 'judged'}, {name}", errors))


if __name__ == "__main__":
    main(sys.argv[1:])
