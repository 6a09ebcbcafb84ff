"""The parts of a step as lanes that run beside each other: what takes how long, and what decides.

In: StepTime. Out: Lanes. Convention: seconds of one optimizer step; the parts of a lane come one
after another, and lanes go on at the same time, so that the longest one decides how long the step
is. It is the bound of StepTime in more words, from the same record.
"""

from __future__ import annotations

from dataclasses import dataclass

from planner.results.step_time import StepTime
from planner.timing.bottleneck import Bound
from planner.units import format_percent

_NOTHING = 1e-6  # of the step: below it a remainder is one of rounding
_EQUAL = 0.005  # of the step: within it, a lane is as long as the step
_ALSO_WAITS = (
    "The step is longer than its longest row, because parts of some rows wait for those of others."
)
KERNEL_ENDS = "begin and end of kernels"
"""The part of the card's kernels that is neither arithmetic nor memory traffic."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LanePart:
    """A part of a lane."""

    name: str
    """The part, in words."""
    seconds: float
    """Its time; parts of a lane come one after another."""
    is_bound: bool
    """Whether it is the bound of the step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """What runs one after another, beside other lanes."""

    name: str
    """Who does it, in words."""
    parts: tuple[LanePart, ...]
    """Its parts, the bound first, then the longest."""
    decides: bool
    """Whether the step is as long as it is because of this lane."""

    @property
    def seconds(self) -> float:
        """Returns the time of all its parts."""
        return sum(part.seconds for part in self.parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lanes:
    """All lanes of a step, and why its bound is what it is."""

    lanes: tuple[Lane, ...]
    """The lanes, the one that decides first."""
    why: str
    """Sentences that say which lane decides, and which part of it is the bound."""


def lanes_of(time: StepTime) -> Lanes:
    """Returns the lanes of a step; of one that does not fit, those that it would have."""
    found = time.bottleneck
    has_room = found.bound not in (Bound.VRAM, Bound.HOST_RAM)
    bound = found.bound if has_room else found.runner_up
    beside = {
        Bound.LAUNCHES: ("CPU: launches of kernels", time.launch_s),
        Bound.DATA: ("loader: data preparation", time.loader_s or 0.0),
        Bound.COPY: ("PCIe: copies of batches", time.copy_s or 0.0),
    }
    card = _card_parts(time, bound)
    deciding = bound if bound in beside else None
    if bound is Bound.LAUNCHES and sum(part.seconds for part in card) > time.launch_s:
        deciding = None  # so small kernels that the card has most to do with their ends
    elif deciding is not None:
        card = _card_parts(time, None)
    lanes = [Lane(name="card, one after another", parts=card, decides=deciding is None)]
    lanes += [
        Lane(
            name=name,
            parts=(LanePart(name=key.value, seconds=seconds, is_bound=key is deciding),),
            decides=key is deciding,
        )
        for key, (name, seconds) in beside.items()
        if seconds > 0
    ]
    lanes.sort(key=lambda one: (not one.decides, -one.seconds))
    return Lanes(lanes=tuple(lanes), why=_why(time, tuple(lanes), has_room=has_room))


def _card_parts(time: StepTime, bound: Bound | None) -> tuple[LanePart, ...]:
    """Returns the kernels of the card by their roof, and what it waits for between them."""
    shares = dict(time.bottleneck.shares)
    seconds = {
        one: shares[one] * time.step_s
        for one in (Bound.COMPUTE, Bound.BANDWIDTH, Bound.OFFLOAD, Bound.MESSAGES, Bound.BUBBLE)
        if one in shares
    }
    named: dict[str, tuple[Bound, float]] = {
        one.value: (one, each) for one, each in seconds.items()
    }
    kernels = seconds.get(Bound.COMPUTE, 0.0) + seconds.get(Bound.BANDWIDTH, 0.0)
    ends = time.gpu_s - kernels
    if ends > _NOTHING * time.step_s:
        named[KERNEL_ENDS] = Bound.LAUNCHES, ends
    parts = [
        LanePart(name=name, seconds=each, is_bound=one is bound)
        for name, (one, each) in named.items()
    ]
    return tuple(sorted(parts, key=lambda part: (not part.is_bound, -part.seconds)))


def _why(time: StepTime, lanes: tuple[Lane, ...], *, has_room: bool) -> str:
    first = lanes[0]
    begin = "Here" if has_room else "If the job had its memory,"
    if len(first.parts) == 1:
        sentence = f'{begin} that is "{first.name}", and the card waits for it.'
    else:
        part = next((one for one in first.parts if one.is_bound), first.parts[0])
        share = format_percent(part.seconds, time.step_s)
        sentence = (
            f"{begin} that is the card; {part.name} is the largest part of it "
            f"({share} of the step), and so the bound."
        )
    hidden = [
        f"{one.name} ({format_percent(one.seconds, time.step_s)})"
        for one in lanes[1:]
        if one.seconds > 0
    ]
    sentences = [sentence]
    if first.seconds < (1 - _EQUAL) * time.step_s:
        sentences.append(_ALSO_WAITS)
    elif hidden:
        sentences.append(f"Beside it, and hidden by it: {', '.join(hidden)}.")
    return " ".join(sentences)
