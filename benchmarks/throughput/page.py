"""Writes the record of step times as Markdown.

In: cases and Judged. Out: the text of docs/throughput.md. Convention: doubtful cases are in no
figure; the page names them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.throughput.judging import Judged, statistics
from benchmarks.throughput.records import Case, Counted, Use
from benchmarks.throughput.sources import SOURCES
from benchmarks.throughput.spreading import COVERAGE, covered_without_their_card, share

_HEAD = """\
# Step times against published measurements

Written by `python -m benchmarks.throughput --fit`; do not edit. Every time was measured by others \
on a real card and published; [benchmarks/measurements](../benchmarks/measurements/README.md) says \
where and how. Every case is a row in [results.csv](../benchmarks/throughput/results.csv).

Date: {date}. Error: predicted over measured step time, less 1; median, p90 and worst without sign.

The efficiencies that the model of time needs (which share of a card's rates kernels of a kind \
reach) are fitted on the cases for development. **other half**: fitted on one half of the \
networks, judged on the other, and the other way round. **other cards**, **other networks**: \
fitted without any time of that card, of that network. **as shipped**: with the efficiencies that \
planner comes with, fitted on all cases for development. **held out**: the same on cases that no \
constant was ever fitted on \
([held_out.txt](../benchmarks/throughput/held_out.txt)). Further below each card is judged by \
constants that were fitted without any time of it.

| figures | judged by | cases | median | p90 | worst | median with sign |
|---|---|---|---|---|---|---|
"""
_CARDS = """
## Each card without its own times

Constants are fitted on all cases for development of the other cards, and judged on all cases of \
the card, held-out ones too. Small networks that wait for the CPU are counted apart. \
**within**: the share of cases within the interval of their step time, whose figures are fitted \
on other cards alone; it is stated for {coverage:.0%}. A card is a record of the database: one \
with other memory may be among the others.

| card | cases | median | p90 | worst | median with sign | within |
|---|---|---|---|---|---|---|
"""
_TAIL = """
What is known of the rest:

- What was chosen by hand was chosen with the errors of the cases for development in sight, those \
of left-out cards too: the form of the model (about fifteen were tried), 30 instructions an \
element, the tiles and their ramp, the groups of kernels that share an efficiency, what is \
expected of a kind before any step is seen (benchmarks/throughput/priors.py), the kinds that \
tables time, and how much sources of few rows count. Figures of left-out cards are somewhat \
hopeful for that.
- The held-out cases had no part in the fits. When they were counted for the first time \
(2026-11-25), the form of then had errors on them of 6.2 % in the median and 22.5 % at p90 (RTX \
3090 training), 6.4 % / 17.0 % (RTX 4090; without any time of that card 11.2 %), 5.8 % / 16.4 % \
(RTX 5090; without that card 7.3 %).
- One thing was added after that: Winograd's 36 / 16 fewer products for float32 convolutions of \
3 x 3. ResNet-50 on a V100 in float32 showed it, judged by other networks: 27 % before, 12 % \
since.
- The RTX 3090 was measured with torch 1.12 and cuDNN 8.3: its batch norm in contiguous layout and \
its grouped convolutions in channels_last are slower than later ones. Grouped convolutions in \
channels_last with a number of groups other than 32 took 4 to 7 times as long as with 32.
- Convolutions with a filter for each sample (CondConv: efficientnet_cc) are far slower than \
their FLOPs; so are efficientformerv2 (the RTX 4090's times are 5 times those of its sisters).
- Networks with grouped convolutions have many of the large errors: cuDNN's kernels for them \
differ by ten times between its versions, layouts and widths of groups. The last but one line of \
the table of cards is without them.
- Without its own times the RTX 4090 comes out too slow, the RTX 5090 too fast: the same \
networks gain 1.2 to 1.3 times from the one to the other, where the bandwidth grows 1.8 times. One \
was measured with torch 2.4, the other with 2.9.
- The networks of test_* of timm are tiny: their kernels and launches were measured on a host that \
nobody named.
- Group norm under autocast was faster with torch 2.4 than with 2.9: the RTX 5090 is slower there \
than the RTX 4090.
- T5 with activation checkpointing takes longer than its kernels: what Python does around each \
checkpoint is not in the model.
- NVIDIA's ResNet-50 ran in its own container, with DALI and channels_last where it says AMP.
"""


def page(
    cases: Sequence[Case],
    judged: Judged,
    troubles: Sequence[Counted],
    date: str,
) -> str:
    """Writes the whole page."""
    shipped = dict(enumerate(judged.shipped))
    lines = [_HEAD.format(date=date)]
    for source in SOURCES.values():
        title, others = source.title, source.left_out
        numbers = [
            n
            for n, case in enumerate(cases)
            if case.source == source.name and n not in judged.doubtful
        ]
        apart = [n for n in numbers if n in judged.held_out]
        own = [n for n in numbers if n not in judged.held_out]
        lines += _line(title, "other half", cases, own, judged.by_halves)
        if others:
            lines += _line(title, others, cases, own, judged.left_out)
            lines += _line(title, f"held out, {others}", cases, apart, judged.left_out)
        lines += _line(title, "as shipped", cases, own, shipped)
        lines += _line(title, "held out", cases, apart, shipped)
    title = "RTX 3090 training, both layouts"
    both = [n for n, case in enumerate(cases) if case.source.startswith("rtx3090")]
    apart = [n for n in both if n in judged.held_out]
    lines += _line(title, "other half", cases, both, judged.by_halves)
    lines += _line(title, "held out", cases, apart, shipped)
    lines += _of_cards(cases, judged)
    lines.append(_TAIL)
    if judged.doubtful:
        lines.append(f"\nPredicted, but not judged: {_doubtful(cases, judged)}.\n")
    if troubles:
        names = ", ".join(f"{one.case.name} ({one.trouble})" for one in troubles)
        lines.append(f"\nNot run: {names}.\n")
    return "".join(lines)


def _of_cards(cases: Sequence[Case], judged: Judged) -> list[str]:
    """Returns the table of cards, each judged without its own times."""
    covered = covered_without_their_card(judged.samples)
    numbers = [n for n in judged.by_cards if n not in judged.doubtful]
    clean = [n for n in numbers if cases[n].use is Use.CLEAN]
    small = [n for n in numbers if cases[n].use is Use.LAUNCH_BOUND]
    lines = [_CARDS.format(coverage=COVERAGE)]
    for card in sorted({judged.cards[n] for n in clean}):
        of_card = [n for n in clean if judged.cards[n] == card]
        lines += _line(card, None, cases, of_card, judged.by_cards, covered.get(card))
    every = [one for of_card in covered.values() for one in of_card]
    lines += _line("all of them", None, cases, clean, judged.by_cards, every)
    plain = [n for n in clean if n not in judged.grouped]
    lines += _line("all, without grouped convolutions", None, cases, plain, judged.by_cards)
    lines += _line("small networks, launch-bound", None, cases, small, judged.by_cards)
    return lines


def _doubtful(cases: Sequence[Case], judged: Judged) -> str:
    """Returns the doubtful cases by their reason, with the error of each."""
    reasons: dict[str, list[str]] = {}
    for number in sorted(judged.doubtful):
        case = cases[number]
        error = judged.shipped[number] / case.measured_s - 1
        reasons.setdefault(case.doubt, []).append(f"{case.name} ({error:+.0%})")
    return "; ".join(f"{', '.join(names)}: {reason}" for reason, names in reasons.items())


def _line(
    title: str,
    judged_by: str | None,
    cases: Sequence[Case],
    numbers: Sequence[int],
    seconds: Mapping[int, float],
    covered: Sequence[bool] | None = None,
) -> list[str]:
    """Returns a row of a table; none if there is nothing to show, as in a sample.

    A row of the table of cards has no `judged_by`, but the share of what is `covered`.
    """
    found = statistics([(seconds[n], cases[n].measured_s) for n in numbers if n in seconds])
    if found is None:
        return []
    shares = " | ".join(f"{value:.1%}" for value in (found.median, found.p90, abs(found.worst)))
    if judged_by is None:
        within = f"{share(covered):.0%}" if covered else ""
        return [f"| {title} | {found.number} | {shares} | {found.bias:+.1%} | {within} |\n"]
    return [f"| {title} | {judged_by} | {found.number} | {shares} | {found.bias:+.1%} |\n"]
