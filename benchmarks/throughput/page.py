"""The record of step times as Markdown.

In: cases and Judged. Out: the text of docs/throughput.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.throughput.counting import Counted
from benchmarks.throughput.judging import LEFT_OUT_CARDS, Judged, Statistics, statistics
from benchmarks.throughput.records import Case

_TITLES = {
    "rtx3090-nchw": "timm's networks trained on an RTX 3090, AMP fp16, contiguous (torch 1.12)",
    "rtx3090-nhwc": "the same, channels_last",
    "rtx4090-infer": "timm's networks in inference on an RTX 4090, AMP fp16 (torch 2.4)",
    "rtx5090-infer": "the same on an RTX 5090 (torch 2.9.1)",
    "h100-training": "T5, GPT-2, Llama and ViT trained on an H100 (torch 2.6)",
    "nvidia-resnet50": "ResNet-50 of NVIDIA on A100, V100 and T4",
    "neusight": "GPT-2 large and BERT large on H100, V100 and L4, fp32, without optimizer",
}
_HEAD = """\
# Step times against published measurements

Written by `python -m benchmarks.throughput --fit`; do not edit. Every time was measured by others \
on a real card and published; [benchmarks/measurements](../benchmarks/measurements/README.md) says \
where and how. Every case is a row in [results.csv](../benchmarks/throughput/results.csv).

Date: {date}. Error: predicted over measured step time, less 1; median, p90 and worst without sign.

The efficiencies that the model of time needs (which share of a card's rates kernels of a kind \
reach) are fitted. **other half**: fitted on one half of the networks, judged on the other, and \
the other way round. **other cards**: fitted without any time of that card. **as shipped**: with \
the efficiencies that planner comes with, fitted on all of these cases.

| figures | judged by | cases | median | p90 | worst | median with sign |
|---|---|---|---|---|---|---|
"""
_TAIL = """
What is known of the rest:

- What was chosen by hand was chosen with these errors in sight: the form of the model (about \
fifteen were tried), 30 instructions an element, the tiles and their ramp, the groups of kernels \
that share an efficiency, the bandwidth of GDDR6X, and that sources of few rows count five \
times. Over the forms that were tried the RTX 4090, left out, came out at 9.7 % to 16 % in the \
median. Rows that were not counted yet (see above) have had no part in any of it; they have not \
been judged either.
- The RTX 3090 was measured with torch 1.12 and cuDNN 8.3: its batch norm in contiguous layout and \
its grouped convolutions in channels_last are slower than later ones. Grouped convolutions in \
channels_last with a number of groups other than 32 took 4 to 7 times as long as with 32.
- Convolutions with a filter for each sample (CondConv: efficientnet_cc) are far slower than \
their FLOPs; so are efficientformerv2 (the RTX 4090's times are 5 times those of its sisters).
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
    published: Mapping[str, int],
) -> str:
    """The whole page; `published` are the rows of each source, of which `cases` may be a sample."""
    lines = [_HEAD.format(date=date)]
    for source, title in _TITLES.items():
        numbers = [n for n, case in enumerate(cases) if case.source == source]
        if not numbers:
            continue
        lines.append(_line(title, "other half", _of(cases, numbers, judged.by_halves)))
        if source in LEFT_OUT_CARDS:
            lines.append(_line(title, "other cards", _of(cases, numbers, judged.by_cards)))
        lines.append(_line(title, "as shipped", _of(cases, numbers, judged.shipped)))
    both = [n for n, case in enumerate(cases) if case.source.startswith("rtx3090")]
    if both:
        title = "RTX 3090 training, both layouts"
        lines.append(_line(title, "other half", _of(cases, both, judged.by_halves)))
    counts = {source: sum(case.source == source for case in cases) for source in published}
    samples = [f"{counts[one]} of {published[one]} ({one})" for one in published if counts[one]]
    lines.append(f"\nCases, drawn at random where not all: {', '.join(samples)}.\n")
    lines.append(_TAIL)
    if troubles:
        names = ", ".join(f"{one.case.name} ({one.trouble})" for one in troubles)
        lines.append(f"\nNot run: {names}.\n")
    return "".join(lines)


def _of(
    cases: Sequence[Case], numbers: Sequence[int], seconds: Sequence[float] | dict[int, float]
) -> Statistics:
    return statistics([(seconds[n], cases[n].measured_s) for n in numbers])


def _line(title: str, judged_by: str, found: Statistics) -> str:
    shares = " | ".join(f"{value:.1%}" for value in (found.median, found.p90, found.worst))
    return f"| {title} | {judged_by} | {found.cases} | {shares} | {found.bias:+.1%} |\n"
