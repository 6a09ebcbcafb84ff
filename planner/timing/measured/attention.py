"""Times fused attention by what was measured of such kernels on the card, or on its nearest kin.

In: AttentionFacts, the card, the rate of its units. Out: KernelTime. Convention: backward has 2.5
times the FLOPs of forward. The constants in attention.json are written by
`python -m benchmarks.kernels --fit`.

torch 2.14 prefers cuDNN on compute capability 9.x and 10.x and flash (FlashAttention 2) elsewhere
(aten/src/ATen/native/transformers/cuda/sdp_utils.cpp, check_prefer_cudnn_attention). On Hopper both
were published; elsewhere the tables have the same kernels, or the best there are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from math import hypot

from planner.hardware.specs import GpuSpec, Vendor
from planner.timing.measured.attention_form import Form, Work, busy_s, read_bytes, roofs_s
from planner.timing.measured.attention_tables import (
    HALVES,
    HOPPER,
    MEASURED_ALONE,
    WARP_GROUPS,
    Chosen,
    Kin,
    Tables,
    chosen_form,
    tables,
)
from planner.timing.measured.kernel_time import KernelTime, TimeSource
from planner.timing.rates import Rate, memory_rate
from planner.wire.kernel_facts import AttentionFacts

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
_LEAST_WIDTH = 64  # smaller heads take the kernel of this width, or one that gains little
_WIDTH_STEP = 32
_UNLIKE_SPREAD = 0.4  # of FlashAttention 2 on data-centre Blackwell: nobody published it
_FEATURE_SPREAD = 0.15  # of dropout or of a bias: no table has them


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
    if facts.queries == 1 and not is_backward and dtype in HALVES:
        return _decode_time(facts, card, chosen)
    library = _library(facts, dtype, card, chosen, is_backward=is_backward)
    is_turned = is_backward and not facts.is_causal  # tiles of keys along the queries
    work = Work(
        batch=facts.batch,
        heads=facts.query_heads,
        key_heads=facts.key_heads,
        queries=facts.keys if is_turned else facts.queries,
        keys=facts.queries if is_turned else facts.keys,
        width=max(_LEAST_WIDTH, (_padded(facts.head_width) + _padded(facts.value_width)) // 2),
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
    return width if width in MEASURED_ALONE else -(-width // _WIDTH_STEP) * _WIDTH_STEP


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
    if major == HOPPER or (major in WARP_GROUPS and library == "flash"):
        form = hopper_form(
            tables(), library, facts.head_width, is_causal=facts.is_causal, is_backward=is_backward
        )
        spread = form.spread if chosen.is_own else hypot(form.spread, spread)
        source = TimeSource.TABLE if chosen.is_own else source
        if major != HOPPER:
            # FlashAttention 2 takes the tensor cores as Ampere did: no faster on a multiprocessor.
            hopper = hopper_kin(tables())
            own = chosen.kin.peak_flops_per_s / card.streaming_multiprocessors
            share = hopper.peak_flops_per_s / hopper.multiprocessors / own
            source, spread = TimeSource.FALLBACK, _UNLIKE_SPREAD
    else:
        form = without_pages(chosen, is_causal=facts.is_causal)
        if major in WARP_GROUPS:
            spread = hypot(spread, _FEATURE_SPREAD)  # how near cuDNN is to the best is not known
        if is_backward:
            share, spread = BACKWARD_SHARE, hypot(spread, BACKWARD_SPREAD)
    if facts.backend == "efficient" or dtype not in HALVES:
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
    # Without a mask the share follows from calls without pages.
    gain = chosen.kin.contiguous_gain if is_causal else 1.0
    return replace(
        form,
        share=min(1.0, form.share * gain),
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
    return next(one for one in found.kin if one.capability[0] == HOPPER)


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
