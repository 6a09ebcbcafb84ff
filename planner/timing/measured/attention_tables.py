"""The constants of fused attention by card, and which measured card stands for another.

In: attention.json. Out: Kin, Chosen. Convention: a share is of the published dense peak of
bfloat16; another card's rate goes by its large products.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from planner.hardware.specs import GpuSpec
from planner.timing.measured.attention_form import Decode, Form
from planner.timing.measured.kernel_time import TimeSource
from planner.timing.rates import Rate

FILE = Path(__file__).with_name("attention.json")
HALVES = ("float16", "bfloat16")
HOPPER = 9  # its major compute capability
WARP_GROUPS = (HOPPER, 10)  # of cards whose tensor cores take groups of warps
# Later ones without warp groups have 100 KiB of shared memory on a multiprocessor, not 164.
_LAST_LARGE = (8, 0)
MEASURED_ALONE = (72, 80)  # widths that are no multiple of 32, and stand for no other


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
        return self.capability[0] in WARP_GROUPS


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
        if self.is_own and dtype in HALVES:
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
        greater = [one for one in forms if one >= width and one not in MEASURED_ALONE]
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
        has_groups, is_small = major in WARP_GROUPS, (major, minor) > _LAST_LARGE
        return (
            one.card != card.id,
            one.has_groups != has_groups,
            (one.capability > _LAST_LARGE) != is_small,
            steps,
        )

    return min((one for one in found.kin if one.card != without), key=distance)
