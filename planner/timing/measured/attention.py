"""Times fused attention by what was measured of such kernels on the card, or on its nearest kin.

In: AttentionFacts, the card, the rate of its units. Out: KernelTime. Convention: 4 FLOPs for each
query, key it sees and element of a head's width; backward 2.5 times as many. The constants in
attention.json are written by `python -m benchmarks.kernels --fit`.

A block of the grid takes a tile of queries of one head along all keys they see. So the time is that
of all tiles on all multiprocessors, in waves, or of one tile alone, or of the bytes, whichever is
longest, rounded where they meet. torch 2.14 prefers cuDNN on compute capability 9.x and 10.x and
flash (FlashAttention 2) elsewhere (aten/src/ATen/native/transformers/cuda/sdp_utils.cpp,
check_prefer_cudnn_attention); the tables have FlashAttention 3 and 4 and TensorRT-LLM's kernels
there, from which published comparisons lead to cuDNN and to flash.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from math import ceil, hypot
from pathlib import Path
from typing import Any

from planner.hardware.specs import GpuSpec, Vendor
from planner.timing.measured.kernel_time import KernelTime, TimeSource
from planner.timing.rates import Rate, memory_rate
from planner.wire.kernel_facts import AttentionFacts

FILE = Path(__file__).with_name("attention.json")
# Products of backward over those of forward: five to two (FlashAttention 2, section 4.1,
# https://arxiv.org/abs/2307.08691).
BACKWARD_PRODUCTS = 2.5
# FLOP/s of backward over those of forward with the same kernels, on cards without warp groups: 63 %
# and 73 % of the peak of an A100 at best (same paper, section 4). A fit of steps may move it: the
# prior is this, with 0.15 of spread. Hopper's are in attention.json by library and head width.
BACKWARD_SHARE = 0.86
BACKWARD_SPREAD = 0.15
# The kernels of torch's efficient backend are those of the first FlashAttention's kind, over which
# FlashAttention 2 "yields around 2x speedup" (same paper, abstract).
EFFICIENT_SHARE = 0.5
EFFICIENT_SPREAD = 0.35
# Begin and end of one kernel: 3.5 to 4.2 us in calls of one short tile (FlashAttention 2 on L40S
# and RTX PRO 6000). Engines launch more kernels in a call than torch does.
KERNEL_S = 3.5e-6
_BACKWARD_KERNELS = 3  # the sums of rows, the gradients, the queries' gradient to half precision
# Bytes of these others for each element of the queries: two halves read; the sum in float32
# cleared, read, and written as a half.
_AROUND_BACKWARD_BYTES = 2 + 2 + 4 + 4 + 2
_HALVES = ("float16", "bfloat16")
_HALF_BYTES = 2
_LEAST_WIDTH = 64  # smaller heads take the kernel of this width, or one that gains little
_WIDTH_STEP = 32
_HOPPER = 9
_WARP_GROUPS = (_HOPPER, 10)  # major compute capabilities whose tensor cores take groups of warps
# Later ones without warp groups have 100 KiB of shared memory on a multiprocessor, not 164.
_LAST_LARGE = (8, 0)
_UNLIKE_SPREAD = 0.4  # of FlashAttention 2 on data-centre Blackwell: nobody published it
_FEATURE_SPREAD = 0.15  # of dropout or of a bias: no table has them


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """The constants of one kernel on one card, for one head width."""

    tile: int
    """Queries of a block."""
    share: float
    """FLOP/s of long sequences over the published dense peak of bfloat16."""
    first_keys: float
    """Keys in whose time a block begins and ends."""
    fixed_s: float
    """Begin and end of the engine's call."""
    wave: float
    """Part of the last, incomplete wave of blocks that counts as if it were complete."""
    lone: float
    """Time of a block alone on a multiprocessor over its part where the card is full."""
    bandwidth: float
    """Bytes per second of queries, keys, values and results over the memory bandwidth."""
    power: float
    """Exponent of the sum of the three times: 1 adds them, a great one takes the longest."""
    spread: float
    """Standard deviation of the logarithm of measured over predicted times."""
    is_measured: bool
    """Whether this width and mask was measured on this card; else it follows from others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a kernel computes, as it decides its grid."""

    batch: int
    heads: int
    key_heads: int
    queries: int
    keys: int
    width: int
    is_causal: bool
    window: int | None = None

    @property
    def most_keys(self) -> int:
        """Returns the most keys that a query sees."""
        least = self.keys if self.window is None else min(self.window, self.keys)
        return min(least, self.queries) if self.is_causal else least

    @property
    def mean_keys(self) -> float:
        """Returns the keys that a query sees in the mean."""
        most = self.most_keys
        return most - most * (most - 1) / (2 * self.queries) if self.is_causal else most

    @property
    def moved_bytes(self) -> int:
        """Returns the bytes of queries and results, keys and values in half precision."""
        elements = self.queries * self.heads + self.keys * self.key_heads
        return 2 * _HALF_BYTES * self.batch * elements * self.width


def roofs_s(
    form: Form, work: Work, *, flops_per_s: float, multiprocessors: int, bytes_per_s: float
) -> tuple[float, float]:
    """Returns the seconds of arithmetic and of memory; `flops_per_s` is the peak."""
    unit_s = 4 * form.tile * work.width / (form.share * flops_per_s / multiprocessors)
    waves = work.batch * work.heads * ceil(work.queries / form.tile) / multiprocessors
    counted = waves + form.wave * (ceil(waves) - waves)
    longest = work.most_keys
    if work.is_causal:
        longest = min(longest + form.tile, work.keys, work.queries)
    together_s = unit_s * (work.mean_keys + form.first_keys) * counted
    alone_s = form.lone * unit_s * (longest + form.first_keys)
    compute_s = _rounded((together_s, alone_s), form.power)
    return compute_s, work.moved_bytes / (form.bandwidth * bytes_per_s)


def busy_s(form: Form, compute_s: float, memory_s: float) -> float:
    """Returns the seconds under both roofs, rounded where they meet."""
    return _rounded((compute_s, memory_s), form.power)


def _rounded(times_s: Sequence[float], power: float) -> float:
    most = max(times_s)
    total: float = sum((one / most) ** power for one in times_s) ** (1 / power)
    return most * total


@lru_cache(maxsize=4096)
def attention_time(
    facts: AttentionFacts, dtype: str, card: GpuSpec, *, rate: Rate, is_backward: bool
) -> KernelTime | None:
    """Returns the time of one fused attention; None: no kernel like it was measured.

    Args:
        facts: Backend, shape and mask of the call.
        dtype: Of queries, as in torch.float16.
        card: The card.
        rate: Of a large matrix product of `dtype` on it.
        is_backward: Whether it is the gradients of queries, keys and values.
    """
    if card.vendor is not Vendor.NVIDIA or card.compute_capability is None:
        return None
    width = _padded(max(facts.head_width, facts.value_width))
    chosen = chosen_form(card, width, is_causal=facts.is_causal)
    if chosen is None:
        return None
    if facts.queries == 1 and not is_backward and dtype in _HALVES:
        return _decode_time(facts, card, chosen)
    library = _library(facts, dtype, card, chosen, is_backward=is_backward)
    is_turned = is_backward and not facts.is_causal  # tiles of keys along the queries
    work = Work(
        batch=facts.batch,
        heads=facts.query_heads,
        key_heads=facts.key_heads,
        queries=facts.keys if is_turned else facts.queries,
        keys=facts.queries if is_turned else facts.keys,
        width=max(width, _LEAST_WIDTH),
        is_causal=facts.is_causal,
        window=facts.window,
    )
    compute_s, memory_s, around_s = call_s(
        library.form,
        work,
        card,
        flops_per_s=library.share * chosen.flops_per_s(rate, dtype),
        is_backward=is_backward,
    )
    return KernelTime(
        busy_s=busy_s(library.form, compute_s, memory_s) + around_s,
        fixed_s=KERNEL_S * (_BACKWARD_KERNELS if is_backward else 1),
        is_compute_bound=compute_s > memory_s + around_s,
        source=library.source,
        spread=hypot(library.spread, _features_spread(facts)),
    )


def call_s(
    form: Form, work: Work, card: GpuSpec, *, flops_per_s: float, is_backward: bool
) -> tuple[float, float, float]:
    """Returns the seconds of arithmetic, of memory, and of the kernels around a backward."""
    compute_s, memory_s = roofs_s(
        form,
        work,
        flops_per_s=flops_per_s,
        multiprocessors=card.streaming_multiprocessors,
        bytes_per_s=card.memory_bandwidth_bytes_per_s,
    )
    if not is_backward:
        return compute_s, memory_s, 0.0
    # Twice the bytes: the results' gradient, and three gradients more.
    around = _AROUND_BACKWARD_BYTES * work.batch * work.heads * work.queries * work.width
    return BACKWARD_PRODUCTS * compute_s, 2 * memory_s, around / memory_rate(card)


def _features_spread(facts: AttentionFacts) -> float:
    number = (facts.dropout > 0) + facts.has_bias
    return float(_FEATURE_SPREAD * number)


def _padded(width: int) -> int:
    """Returns the width that a kernel is made for; 72 and 80 were measured as they are."""
    return width if str(width) in _MEASURED_ALONE else -(-width // _WIDTH_STEP) * _WIDTH_STEP


_MEASURED_ALONE = ("72", "80")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Library:
    """The kernels that torch calls: their form, and FLOP/s over those of the form."""

    form: Form
    share: float
    source: TimeSource
    spread: float


def _library(
    facts: AttentionFacts, dtype: str, card: GpuSpec, chosen: Chosen, *, is_backward: bool
) -> _Library:
    """Returns the kernels of the call's backend on the card, without pages of keys."""
    major = (card.compute_capability or (0, 0))[0]
    library = "cudnn" if facts.backend == "cudnn" else "flash"
    share, spread, source = 1.0, chosen.spread, chosen.source
    if major == _HOPPER or (major in _WARP_GROUPS and library == "flash"):
        form = hopper_form(
            tables(), library, facts.head_width, is_causal=facts.is_causal, is_backward=is_backward
        )
        spread = hypot(form.spread, 0.0 if source is TimeSource.TABLE else spread)
        if major != _HOPPER:
            # FlashAttention 2 takes the tensor cores as Ampere did: no faster on a multiprocessor.
            hopper = hopper_kin(tables())
            own = chosen.kin.peak_flops_per_s / card.streaming_multiprocessors
            share = hopper.peak_flops_per_s / hopper.multiprocessors / own
            source, spread = TimeSource.FALLBACK, _UNLIKE_SPREAD
    else:
        form = without_pages(chosen, is_causal=facts.is_causal)
        if major in _WARP_GROUPS:
            spread = hypot(spread, _FEATURE_SPREAD)  # how near cuDNN is to the best is not known
        if is_backward:
            share, spread = BACKWARD_SHARE, hypot(spread, BACKWARD_SPREAD)
    if facts.backend == "efficient" or dtype not in _HALVES:
        share, spread = share * EFFICIENT_SHARE, hypot(spread, EFFICIENT_SPREAD)
        source = TimeSource.FALLBACK
    return _Library(form=form, share=share, source=source, spread=spread)


def without_pages(chosen: Chosen, *, is_causal: bool) -> Form:
    """Returns the form of a call whose keys are in one piece; causal ones were measured in pages.

    It moves bytes, begins and ends as the kernel without a mask, which has no pages; half a tile
    more is hidden by the mask.
    """
    form, base = chosen.form, chosen.kin.forms["whole"][_LEAST_WIDTH]
    if not is_causal and form.is_measured:
        return form
    return replace(
        form,
        share=min(1.0, form.share * chosen.kin.contiguous_gain),
        bandwidth=max(form.bandwidth, base.bandwidth),
        first_keys=min(form.first_keys, base.first_keys + form.tile / 2),
    )


def hopper_form(
    found: Tables, library: str, width: int, *, is_causal: bool, is_backward: bool
) -> Form:
    """Returns the form of torch's kernels on Hopper, from published figures of the library."""
    mask = "causal" if is_causal else "whole"
    by_width = found.hopper[library]["backward" if is_backward else mask]
    key = min(by_width, key=lambda one: (int(one) < width, abs(int(one) - width)))
    share, first_keys, spread = by_width[key]
    if is_backward and is_causal:
        # Published without a mask; forward says what a mask costs at this width.
        causal, whole = (
            hopper_form(found, library, width, is_causal=one, is_backward=False)
            for one in (True, False)
        )
        share *= causal.share / whole.share
        spread = hypot(spread, BACKWARD_SPREAD)
    return replace(HOPPER_FORM, share=share, first_keys=first_keys, spread=spread)


# Of all kernels of torch on Hopper: the published figures tell two constants of each.
HOPPER_FORM = Form(
    tile=128, share=1.0, first_keys=0.0, fixed_s=KERNEL_S, wave=0.5, lone=1.0, bandwidth=0.9,
    power=2.0, spread=0.0, is_measured=True,
)  # fmt: skip


def hopper_kin(found: Tables) -> Kin:
    """Returns the measured Hopper card."""
    return next(one for one in found.kin if one.capability[0] == _HOPPER)


def _decode_time(facts: AttentionFacts, card: GpuSpec, chosen: Chosen) -> KernelTime:
    """Returns the time of one query for each sequence: it reads all keys and values once."""
    decode = chosen.kin.decode
    keys = facts.keys if facts.window is None else min(facts.window, facts.keys)
    moved = read_bytes(
        decode,
        heads=facts.batch * facts.key_heads,
        keys=keys,
        widths=facts.head_width + facts.value_width,
    )
    return KernelTime(
        busy_s=moved / (decode.share * card.memory_bandwidth_bytes_per_s),
        fixed_s=decode.fixed_s,
        is_compute_bound=False,
        source=chosen.source,
        spread=hypot(decode.spread, chosen.spread - chosen.form.spread),
    )


def read_bytes(decode: Decode, *, heads: int, keys: int, widths: int) -> float:
    """Returns the bytes of keys and values of all sequences' heads, with what they begin with."""
    return _HALF_BYTES * heads * (keys + decode.first_keys) * widths


@dataclass(frozen=True, slots=True, kw_only=True)
class Decode:
    """The constants of a kernel for one query of each sequence."""

    share: float
    """Bytes per second over the memory bandwidth."""
    fixed_s: float
    """Begin and end."""
    first_keys: float
    """Keys in whose time the work on one head begins and ends."""
    spread: float
    """Standard deviation of the logarithm of measured over predicted times."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kin:
    """A card that was measured. `forms` are by mask ("causal", "whole") and head width."""

    card: str
    capability: tuple[int, int]
    multiprocessors: int
    peak_flops_per_s: float
    rate_flops_per_s: float
    """Of a large product, as planner took it when the constants were fitted."""
    contiguous_gain: float
    """FLOP/s of keys and values in one piece over those in pages, as the engines keep them."""
    decode: Decode
    """Of one query."""
    forms: Mapping[str, Mapping[int, Form]]

    @property
    def has_groups(self) -> bool:
        """Returns whether tensor cores take groups of warps."""
        return self.capability[0] in _WARP_GROUPS


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """What was measured.

    `hopper` holds share, first keys and spread of torch's kernels on Hopper by library, mask (or
    "backward") and head width; `left_out` the spread of a card by others, by kinship.
    """

    kin: tuple[Kin, ...]
    hopper: Mapping[str, Mapping[str, Mapping[str, Sequence[float]]]]
    left_out: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The form for a card, and the measured card that it is from."""

    form: Form
    kin: Kin
    is_own: bool
    source: TimeSource
    spread: float

    def flops_per_s(self, rate: Rate, dtype: str) -> float:
        """Returns the peak that the form's share is of, on the card that has this rate."""
        if self.is_own and dtype in _HALVES:
            return self.kin.peak_flops_per_s
        return self.kin.peak_flops_per_s * rate.flops_per_s / self.kin.rate_flops_per_s


@cache
def tables() -> Tables:
    """Reads the constants that come with planner."""
    return read_tables(json.loads(FILE.read_text(encoding="utf-8")))


def read_tables(found: Mapping[str, Any]) -> Tables:
    """Returns the constants of a document like attention.json."""
    return Tables(
        kin=tuple(_kin(card, one) for card, one in found["cards"].items()),
        hopper=found["hopper"],
        left_out=found["left_out"],
    )


def _kin(card: str, one: Mapping[str, Any]) -> Kin:
    share, fixed_us, first_keys, spread = one["decode"]
    return Kin(
        card=card,
        capability=tuple(one["capability"]),
        multiprocessors=one["multiprocessors"],
        peak_flops_per_s=one["peak_tflops"] * 1e12,
        rate_flops_per_s=one["rate_tflops"] * 1e12,
        contiguous_gain=one["contiguous_gain"],
        decode=Decode(share=share, fixed_s=fixed_us / 1e6, first_keys=first_keys, spread=spread),
        forms={
            mask: {int(width): read_form(values) for width, values in one[mask].items()}
            for mask in ("causal", "whole")
        },
    )


def read_form(values: Sequence[float]) -> Form:
    """Returns a form of its figures in the file, in the order of its fields."""
    tile, share, first_keys, fixed_us, wave, lone, bandwidth, power, spread, is_measured = values
    return Form(
        tile=int(tile),
        share=share,
        first_keys=first_keys,
        fixed_s=fixed_us / 1e6,
        wave=wave,
        lone=lone,
        bandwidth=bandwidth,
        power=power,
        spread=spread,
        is_measured=bool(is_measured),
    )


@lru_cache(maxsize=1024)
def chosen_form(card: GpuSpec, width: int, *, is_causal: bool) -> Chosen | None:
    """Returns the form for a card and head width; None: no width that great was measured."""
    return choose(tables(), card, width, is_causal=is_causal)


def choose(
    found: Tables, card: GpuSpec, width: int, *, is_causal: bool, without: str | None = None
) -> Chosen | None:
    """Returns the form of the card itself, else of its nearest kin but the card `without`."""
    kin = nearest_kin(found, card, without=without)
    forms = kin.forms["causal" if is_causal else "whole"]
    form = forms.get(width)
    if form is None:
        greater = [one for one in forms if one >= width and str(one) not in _MEASURED_ALONE]
        if not greater:
            return None
        form = forms[min(greater)]
    is_own = kin.card == card.id
    is_related = kin.capability == card.compute_capability
    source = TimeSource.RELATED if is_own or is_related else TimeSource.FALLBACK
    if is_own and form.is_measured:
        source = TimeSource.TABLE
    more = 0.0 if is_own else found.left_out["related" if is_related else "other"]
    return Chosen(form=form, kin=kin, is_own=is_own, source=source, spread=max(form.spread, more))


def nearest_kin(found: Tables, card: GpuSpec, *, without: str | None = None) -> Kin:
    """Returns the measured card nearest in how its tensor cores are fed, then in generation."""
    major, minor = card.compute_capability or (0, 0)

    def distance(one: Kin) -> tuple[bool, bool, bool, int]:
        other_major, other_minor = one.capability
        steps = abs(10 * major + minor - 10 * other_major - other_minor)
        has_groups, is_small = major in _WARP_GROUPS, (major, minor) > _LAST_LARGE
        return (
            one.card != card.id,
            one.has_groups != has_groups,
            (one.capability > _LAST_LARGE) != is_small,
            steps,
        )

    return min((one for one in found.kin if one.card != without), key=distance)
