"""Fused attention: reads the engines' tables, fits the form of its time, and judges it.

In: aiconfigurator-core's context, encoder and generation attention in bfloat16; FlashAttention 3's
figures. Out: a Kind. Convention: the formula is planner/timing/measured/attention.py's, on arrays;
a test compares them. Each shape is held out on all cards and of all engines.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import numpy as np

from benchmarks.kernels.aiconfigurator import CARDS, EngineTable, tables
from benchmarks.kernels.least_squares import Vector, fitted
from benchmarks.kernels.records import Figure, JudgedBy, Kind, figure, is_held_out
from benchmarks.record.rows import MEASUREMENTS, rows
from planner.hardware.database import load_gpus
from planner.hardware.specs import GpuSpec
from planner.timing.efficiency import efficiencies
from planner.timing.measured.attention import (
    BACKWARD_PRODUCTS,
    FILE,
    HOPPER_FORM,
    Decode,
    Form,
    Tables,
    Work,
    busy_s,
    call_s,
    choose,
    read_bytes,
    read_form,
    read_tables,
    roofs_s,
)
from planner.timing.rates import Rate, arithmetic_rate, memory_rate

NAME = "attention"
PUBLISHED = MEASUREMENTS / "flash_attention_3.csv"
# Kernels as the tables name them. Left out: Triton's (another kernel), torch_flow (TensorRT-LLM's
# call, with the writing of keys into pages) and flashinfer, which folds heads that share keys into
# one tile; it is contiguous, and shows what pages cost.
_KERNELS = {
    "flash_attention", "vllm_flash_attn_fa2", "vllm_vit_flash_attn_fa2", "vllm_flash_attn_fa3",
    "fa3", "vllm_vit_flash_attn_fa3", "flash_attention_v3", "trtllm_mha", "flash_attention_v4",
    "vllm_flashinfer_trtllmprefill", "vllm_vit_flash_attn_fa4",
}  # fmt: skip
_DECODE_KERNELS = {
    "vllm_flash_attn", "vllm_flash_attn_fa2", "vllm_flash_attn_fa3", "trtllm_mha",
    "vllm_flashinfer_trtllmdecode",
}  # fmt: skip
_CONTIGUOUS, _PAGED = "flashinfer", "vllm_flash_attn_fa2"
_GAIN_LENGTH = 4096  # tokens: beyond it the tile of shared heads does not matter
_LEAST_QUERIES = 16
_WIDTHS = (64, 72, 80, 128, 192, 256)
_MAIN_WIDTHS = (64, 128, 192, 256)
_BASE = 64  # the width that both masks were measured with
_TILES = (64, 128, 256)
_MOST_ROWS = 2500  # of one fit
_DERIVED_SPREAD = 0.15  # more, of what follows from another width or mask
_MOST_SHARE = 0.95
# Logarithms of share, first keys, fixed seconds, lone, bandwidth, power - 1; wave is as it is.
_START = np.array([math.log(0.5), math.log(100), math.log(5e-6), 0.4, -0.3, -0.5, 1.0])
_LEAST = np.array([math.log(0.1), 0.0, math.log(1e-6), 0.0, -2.5, -2.0, -2.0])
_MOST = np.array([math.log(_MOST_SHARE), math.log(2000), math.log(2e-5), 1.0, 1.2, 0.0, 2.5])

Key = tuple[str, str, int]  # card, mask, head width


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A measured call."""

    work: Work
    seconds: float
    kernel: str

    @property
    def is_held_out(self) -> bool:
        """Returns whether it judges."""
        one = self.work
        return is_held_out(
            NAME, one.batch, one.heads, one.key_heads, one.queries, one.keys, one.width,
            one.is_causal, one.window,
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """All calls: of forward by card, mask and width; of one query by card; what pages cost."""

    calls: Mapping[Key, Sequence[Call]]
    decode: Mapping[str, Sequence[Call]]
    contiguous_gain: Mapping[str, float]


def read() -> Measured:
    """Reads the tables of all cards."""
    calls: dict[Key, list[Call]] = {}
    decode: dict[str, list[Call]] = {}
    gains: dict[str, float] = {}
    for folder, card in CARDS.items():
        found = list(_calls(folder))
        for one in found:
            if one.kernel in _KERNELS:
                mask = "causal" if one.work.is_causal else "whole"
                calls.setdefault((card, mask, one.work.width), []).append(one)
        gains[card] = _contiguous_gain(found)
        decode[card] = [one for one in _decode(folder) if one.kernel in _DECODE_KERNELS]
    return Measured(calls=calls, decode=decode, contiguous_gain=gains)


def _calls(folder: str) -> Iterator[Call]:
    for table in tables(folder, "attention", "context_attention_perf"):
        yield from _rows(table, is_causal=True)
    for table in tables(folder, "encoder_attention", "encoder_attention_perf"):
        yield from _rows(table, is_causal=False)


def _decode(folder: str) -> Iterator[Call]:
    for table in tables(folder, "attention", "generation_attention_perf"):
        yield from _rows(table, is_causal=True, is_decode=True)


def _rows(table: EngineTable, *, is_causal: bool, is_decode: bool = False) -> Iterator[Call]:
    """Yields the calls in bfloat16 with keys and values in bfloat16, without a prefix."""
    columns = table.columns
    size = len(columns["latency"])
    absent = [None] * size
    stored = columns.get("kv_cache_dtype", absent)
    shared = columns.get("num_key_value_heads", absent)
    past = columns.get("step", absent)
    windows = columns.get("window_size", absent)
    for at in range(size):
        queries, before = columns["isl"][at], past[at] or 0
        width = columns["head_dim"][at]
        is_half = {columns["attn_dtype"][at], stored[at]} <= {"bfloat16", None}
        is_wanted = before > 0 if is_decode else before == 0 and queries >= _LEAST_QUERIES
        if not (is_half and is_wanted and width in _WIDTHS):
            continue
        heads = columns["num_heads"][at]
        yield Call(
            work=Work(
                batch=columns["batch_size"][at],
                heads=heads,
                key_heads=shared[at] or heads,
                queries=queries,
                keys=queries + before,
                width=width,
                is_causal=is_causal,
                window=windows[at] or None,
            ),
            seconds=columns["latency"][at] / 1e3,
            kernel=columns["kernel_source"][at],
        )


def _contiguous_gain(calls: Sequence[Call]) -> float:
    """Returns times with keys in pages over those without, of long sequences; 1 if not measured."""
    paged = {one.work: one.seconds for one in calls if one.kernel == _PAGED}
    ratios = [
        paged[one.work] / one.seconds
        for one in calls
        if one.kernel == _CONTIGUOUS
        and one.work in paged
        and one.work.queries >= _GAIN_LENGTH
        and one.work.width == 128
        and one.work.window is None
    ]
    return median(ratios) if ratios else 1.0


def fit(data: Measured) -> dict[str, Any]:
    """Returns the document that planner ships."""
    cards = {card: _card(card) for card in CARDS.values()}
    forms: dict[Key, Form] = {}
    for key, calls in data.calls.items():
        forms[key] = _fitted([one for one in calls if not one.is_held_out], cards[key[0]])
    document: dict[str, Any] = {
        "cards": {card: _of_card(spec, data, forms) for card, spec in cards.items()},
        "hopper": _hopper(),
        "left_out": {"related": 0.0, "other": 0.0},
    }
    document["left_out"] = _left_out(data, read_tables(document))
    return document


def _card(name: str) -> GpuSpec:
    return load_gpus().find(name).spec


def _fitted(calls: Sequence[Call], card: GpuSpec) -> Form:
    """Returns the form with the least error of logarithms."""
    drawn = calls
    if len(calls) > _MOST_ROWS:
        order = np.random.default_rng(0).permutation(len(calls))[:_MOST_ROWS]
        drawn = [calls[number] for number in order]
    seconds = np.array([one.seconds for one in drawn])
    arrays = Arrays(drawn)
    found = []
    for tile in _TILES:

        def residuals(at: Vector, tile: int = tile) -> Vector:
            return np.log(predicted(_form(at, tile), arrays, card) / seconds)

        cost, at = fitted(residuals, _START, _LEAST, _MOST)
        found.append((cost, tile, at))
    _, tile, at = min(found, key=lambda one: one[0])
    form = _form(at, tile)
    errors = np.sort(np.log(predicted(form, Arrays(calls), card) / [one.seconds for one in calls]))
    cut = len(errors) // 100
    return replace(form, spread=float(np.std(errors[cut : len(errors) - cut])))


def _form(at: Vector, tile: int) -> Form:
    share, first_keys, fixed_s, lone, bandwidth = (
        math.exp(at[number]) for number in (0, 1, 2, 4, 5)
    )
    return Form(
        tile=tile,
        share=share,
        first_keys=first_keys,
        fixed_s=fixed_s,
        wave=float(at[3]),
        lone=lone,
        bandwidth=bandwidth,
        power=1 + math.exp(at[6]),
        spread=0.0,
        is_measured=True,
    )


class Arrays:
    """The shapes of calls, as arrays."""

    def __init__(self, calls: Sequence[Call]) -> None:
        """Takes what the formula needs of each."""
        works = [one.work for one in calls]
        self.blocks_of = np.array([one.batch * one.heads for one in works], float)
        self.queries = np.array([one.queries for one in works], float)
        self.keys = np.array([one.keys for one in works], float)
        self.width = np.array([one.width for one in works], float)
        self.most_keys = np.array([one.most_keys for one in works], float)
        self.mean_keys = np.array([one.mean_keys for one in works], float)
        self.moved_bytes = np.array([one.moved_bytes for one in works], float)
        self.is_causal = np.array([one.is_causal for one in works])


def predicted(form: Form, works: Arrays, card: GpuSpec) -> Vector:
    """Returns the seconds of calls: the formula of planner's module, on arrays."""
    peak, size = card.peak_flops_per_s.bf16, card.streaming_multiprocessors
    assert peak is not None
    unit_s = 4 * form.tile * works.width / (form.share * peak / size)
    waves = works.blocks_of * np.ceil(works.queries / form.tile) / size
    counted = waves + form.wave * (np.ceil(waves) - waves)
    last = np.minimum(np.minimum(works.most_keys + form.tile, works.keys), works.queries)
    longest = np.where(works.is_causal, last, works.most_keys)
    together_s = unit_s * (works.mean_keys + form.first_keys) * counted
    alone_s = form.lone * unit_s * (longest + form.first_keys)
    memory_s = works.moved_bytes / (form.bandwidth * card.memory_bandwidth_bytes_per_s)
    most = np.maximum(np.maximum(together_s, alone_s), memory_s)
    rounded = sum(((one / most) ** form.power for one in (together_s, alone_s, memory_s)), 0.0)
    found: Vector = form.fixed_s + most * rounded ** (1 / form.power)
    return found


def _of_card(card: GpuSpec, data: Measured, forms: Mapping[Key, Form]) -> dict[str, Any]:
    peak = card.peak_flops_per_s.bf16
    assert peak is not None
    assert card.compute_capability is not None
    filled = _filled(card.id, forms)
    return {
        "capability": list(card.compute_capability),
        "multiprocessors": card.streaming_multiprocessors,
        "peak_tflops": peak / 1e12,
        "rate_tflops": round(_rate(card).flops_per_s / 1e12, 2),
        "contiguous_gain": round(data.contiguous_gain[card.id], 3),
        "decode": _decode_figures(card, data.decode[card.id]),
        **{
            mask: {
                str(width): _written(filled[card.id, mask, width])
                for width in _WIDTHS
                if (card.id, mask, width) in filled
            }
            for mask in ("causal", "whole")
        },
    }


def _rate(card: GpuSpec) -> Rate:
    return arithmetic_rate(card, "bfloat16", tf32=False, is_product=True)


def _written(form: Form) -> list[float]:
    return [
        form.tile, round(form.share, 4), round(form.first_keys, 1), round(form.fixed_s * 1e6, 2),
        round(form.wave, 3), round(form.lone, 3), round(form.bandwidth, 3), round(form.power, 3),
        round(form.spread, 3), int(form.is_measured),
    ]  # fmt: skip


_LIKE = "l40s"  # the card whose FlashAttention 2 was measured with most widths and both masks


def _filled(card: str, measured: Mapping[Key, Form]) -> dict[Key, Form]:
    """Returns also forms of widths and masks that were not measured on a card.

    Another width: FLOP/s as the card's own of 128, by the ratio of the two on L40S. Another mask:
    as the same width's, by the ratio of both masks' at the width that has both.
    """
    forms = {key: form for key, form in measured.items() if key[0] == card}

    def take(key: Key, other: Key, ratio: float) -> None:
        if key not in forms and other in forms:
            form = forms[other]
            forms[key] = replace(
                form,
                share=min(_MOST_SHARE, form.share * ratio),
                spread=math.hypot(form.spread, _DERIVED_SPREAD),
                is_measured=False,
            )

    for width in _MAIN_WIDTHS:
        if (card, "causal", width) not in forms and (_LIKE, "causal", width) in measured:
            one, like = measured[_LIKE, "causal", width], measured[_LIKE, "causal", 128]
            take((card, "causal", width), (card, "causal", 128), one.share / like.share)
    has_both = (card, "whole", _BASE) in forms and (card, "causal", _BASE) in measured
    of = card if has_both else _LIKE
    ratio = measured[of, "whole", _BASE].share / measured[of, "causal", _BASE].share
    for width in _WIDTHS:
        take((card, "whole", width), (card, "causal", width), ratio)
        take((card, "causal", width), (card, "whole", width), 1 / ratio)
    return forms


def _decode_figures(card: GpuSpec, calls: Sequence[Call]) -> list[float]:
    """Returns share of the bandwidth, microseconds of begin and end, first keys, spread."""
    found = [one for one in calls if not one.is_held_out and one.work.window is None]
    seconds = np.array([one.seconds for one in found])
    key_bytes = np.array([4.0 * w.batch * w.key_heads * w.width for w in (c.work for c in found)])
    keys = np.array([one.work.keys for one in found])

    def residuals(at: Vector) -> Vector:
        fixed_s, share, first = np.exp(at)
        busy_s = key_bytes * (keys + first) / (share * card.memory_bandwidth_bytes_per_s)
        found: Vector = np.log((fixed_s + busy_s) / seconds)
        return found

    start, least, most = (
        np.log(one) for one in ((5e-6, 0.7, 100.0), (1e-6, 0.05, 1.0), (3e-5, 1.0, 2000.0))
    )
    _, at = fitted(residuals, start, least, most)
    fixed_s, share, first = (float(math.exp(one)) for one in at)
    spread = float(np.std(residuals(at)))
    return [round(share, 3), round(fixed_s * 1e6, 2), round(first, 1), round(spread, 3)]


def _hopper() -> dict[str, Any]:
    """Returns share, first keys and spread of cuDNN and FlashAttention 2 on an H100.

    Of causal calls with a width that was published without a mask alone: that width's share, by
    the ratio of both masks' at 128.
    """
    found: dict[str, dict[str, dict[str, list[float]]]] = {"cudnn": {}, "flash": {}}
    for row in rows(PUBLISHED):
        if row["library"] in found:
            part = "backward" if row["pass"] == "backward" else row["mask"]
            by_width = found[row["library"]].setdefault(part, {})
            by_width[row["head_width"]] = _of_published(row)
    for masks in found.values():
        causal, whole = masks["causal"], masks["whole"]
        ratio = causal["128"][0] / whole["128"][0]
        share, _, spread = whole["64"]
        causal["64"] = [
            round(share * ratio, 4), causal["128"][1], round(math.hypot(spread, 0.1), 3)
        ]  # fmt: skip
    return found


def _of_published(row: Mapping[str, str]) -> list[float]:
    """Fits share and first keys to one row: TFLOP/s of 16384 tokens, 2048 wide, by length."""
    card = _card("h100-sxm5-80gb")
    is_backward = row["pass"] == "backward"
    peak = card.peak_flops_per_s.bf16
    assert peak is not None
    works = [published_work(row, length) for length in PUBLISHED_LENGTHS]
    rates = [float(row[str(length)]) * 1e12 for length in PUBLISHED_LENGTHS]
    seconds = [
        flops(one, is_backward=is_backward) / rate for one, rate in zip(works, rates, strict=True)
    ]

    def residuals(at: Vector) -> Vector:
        form = replace(HOPPER_FORM, share=math.exp(at[0]), first_keys=math.exp(at[1]))
        errors = []
        for work, measured in zip(works, seconds, strict=True):
            compute_s, memory_s, around_s = call_s(
                form, work, card, flops_per_s=peak, is_backward=is_backward
            )
            predicted_s = busy_s(form, compute_s, memory_s) + around_s
            errors.append(math.log(predicted_s / measured))
        return np.array(errors)

    bounds = np.log(np.array([[0.05, 1.0], [1.0, 2000.0]]))
    _, at = fitted(residuals, np.log(np.array([0.5, 100.0])), bounds[0], bounds[1])
    spread = float(np.sqrt(np.mean(residuals(at) ** 2)))
    return [round(math.exp(at[0]), 4), round(math.exp(at[1]), 1), round(math.hypot(spread, 0.1), 3)]


PUBLISHED_LENGTHS = (512, 1024, 2048, 4096, 8192, 16384)
_TOKENS, _HIDDEN = 16384, 2048  # of the FlashAttention 3 paper, section 4.1


def published_work(row: Mapping[str, str], length: int) -> Work:
    """Returns the call of a published figure."""
    width = int(row["head_width"])
    heads = _HIDDEN // width
    return Work(
        batch=_TOKENS // length,
        heads=heads,
        key_heads=heads,
        queries=length,
        keys=length,
        width=width,
        is_causal=row["mask"] == "causal",
    )


def flops(work: Work, *, is_backward: bool) -> float:
    """Returns the FLOPs as papers count them: causal ones are half."""
    whole = 4 * work.batch * work.heads * work.queries * work.keys * work.width
    part = whole / 2 if work.is_causal else float(whole)
    return part * BACKWARD_PRODUCTS if is_backward else part


def _seconds(form: Form, work: Work, card: GpuSpec, peak: float) -> float:
    compute_s, memory_s = roofs_s(
        form,
        work,
        flops_per_s=peak,
        multiprocessors=card.streaming_multiprocessors,
        bytes_per_s=card.memory_bandwidth_bytes_per_s,
    )
    return busy_s(form, compute_s, memory_s) + form.fixed_s


def _left_out_pairs(
    calls: Sequence[Call], found: Tables, card: GpuSpec
) -> Iterator[tuple[float, float]]:
    """Yields predicted and measured seconds by the constants of other cards."""
    for one in calls:
        chosen = choose(found, card, one.work.width, is_causal=one.work.is_causal, without=card.id)
        assert chosen is not None
        peak = chosen.flops_per_s(_rate(card), "bfloat16")
        yield _seconds(chosen.form, one.work, card, peak), one.seconds


def _left_out(data: Measured, found: Tables) -> dict[str, float]:
    """Returns the root of the mean square of logarithms with a card left out, by kinship."""
    squares: dict[str, list[float]] = {"related": [], "other": []}
    for (name, _, _), calls in data.calls.items():
        card = _card(name)
        kin = [one for one in found.kin if one.card != name]
        is_related = any(one.capability == card.compute_capability for one in kin)
        squares["related" if is_related else "other"] += [
            math.log(measured / predicted_s) ** 2
            for predicted_s, measured in _left_out_pairs(calls[::7], found, card)
        ]
    return {
        name: round(math.sqrt(float(np.mean(sorted(values)[: -len(values) // 50]))), 3)
        for name, values in squares.items()
    }


def judge(data: Measured, constants: Mapping[str, Any]) -> Iterator[Figure]:
    """Yields the figures of each card: held-out shapes, and the card left out."""
    found = read_tables(constants)
    everything: list[tuple[float, float]] = []
    for name in CARDS.values():
        card = _card(name)
        for mask, part in (("whole", "forward, not causal"), ("causal", "forward, causal")):
            pairs, before, left_out = [], [], []
            for (owner, its_mask, width), calls in data.calls.items():
                if (owner, its_mask) != (name, mask):
                    continue
                form = read_form(constants["cards"][name][mask][str(width)])
                peak = constants["cards"][name]["peak_tflops"] * 1e12
                judging = [one for one in calls if one.is_held_out]
                pairs += [(_seconds(form, one.work, card, peak), one.seconds) for one in judging]
                before += [abs(_before_s(one.work, card) / one.seconds - 1) for one in judging]
                left_out += list(_left_out_pairs(calls[::3], found, card))
            everything += pairs
            yield from _figures(part, name, JudgedBy.HELD_OUT, pairs, before)
            yield from _figures(part, name, JudgedBy.LEFT_OUT, left_out)
        decode = next(one.decode for one in found.kin if one.card == name)
        decoded = [
            (_decoded_s(decode, one.work, card), one.seconds)
            for one in data.decode[name]
            if one.is_held_out and one.work.window is None
        ]
        yield from _figures("one query", name, JudgedBy.HELD_OUT, decoded)
    yield from _figures("forward", "all", JudgedBy.HELD_OUT, everything)


def _decoded_s(decode: Decode, work: Work, card: GpuSpec) -> float:
    heads = work.batch * work.key_heads
    moved = read_bytes(decode, heads=heads, keys=work.keys, widths=2 * work.width)
    return decode.fixed_s + moved / (decode.share * card.memory_bandwidth_bytes_per_s)


def _figures(
    part: str,
    card: str,
    judged_by: JudgedBy,
    pairs: Sequence[tuple[float, float]],
    before: Sequence[float] = (),
) -> Iterator[Figure]:
    found = figure(
        pairs,
        kind=NAME,
        part=part,
        card=card,
        judged_by=judged_by,
        before=median(before) if before else None,
    )
    if found is not None:
        yield found


def _before_s(work: Work, card: GpuSpec) -> float:
    """Returns the seconds by one share of each roof, a mask counted as if there were none."""
    found = efficiencies()
    key = "fused attention, forward"
    flops = 4 * work.batch * work.heads * work.queries * work.keys * work.width
    compute_s, memory_s = found.roofs_s(
        key, flops / _rate(card).flops_per_s, work.moved_bytes / memory_rate(card)
    )
    return math.hypot(compute_s, memory_s) + found.kernel_s


ATTENTION: Kind[Measured] = Kind(
    name=NAME,
    title="Fused attention",
    file=FILE,
    read=read,
    fit=fit,
    judge=judge,
    notes="""
bfloat16, of one engine's call with 16 queries and more (aiconfigurator-core 0.12.0): \
FlashAttention 2 on A100, L40S and RTX PRO 6000, 3 on H100 and H200, 4 and TensorRT-LLM's on \
B200. Causal calls keep keys and values in pages, others do not. Head widths 64, 128, 192 and \
256 causal (A100: 128 alone), 64, 72 and 80 not causal; the rest of the table follows by ratios, \
with 0.15 more of spread.

**What torch runs.** torch 2.14 takes cuDNN's attention first on compute capability 9.x and 10.x \
(cuDNN above 9.15), flash elsewhere: the kernels of FlashAttention 2, without pages. So the \
tables are fair for torch on Ampere, Ada and GeForce-like Blackwell, where pages cost what \
`flashinfer` without them gains over long sequences (constant `contiguous_gain`) and what calls \
without a mask, which have no pages, take less of short ones. On Hopper the tables are not fair: \
up to 1,024 tokens the engines' calls are 1.3 to 2.3 times as slow as those of the \
FlashAttention 3 paper (arXiv 2407.08608, figures 5 and 6: H100, 16,384 tokens, 2,048 wide). So \
`hopper` is fitted to the paper's figures of cuDNN (9.1, of 2024; later ones are faster by an \
amount that nobody published) and of FlashAttention 2. On B200 no such comparison is known: \
cuDNN is taken to be as fast as the tables' kernels, with more spread. The efficient backend, \
dropout and biases are in no table.

**Backward** is in no table: five products for two, at 0.86 of forward's FLOP/s, as \
FlashAttention 2 on an A100 (its paper), and the bytes of the kernels around it; on Hopper by \
the published figures of each library and head width.
""",
)
