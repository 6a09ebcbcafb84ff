"""Begins the report of an estimate: a sentence for each card, made of its rows.

In: Estimate. Out: names and sentences. Convention: sentences are no surer than the figures. Where
the interval reaches over the limit it is "probably"; a figure that was not searched or timed is
left out.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from planner.input_pipeline.host_ram import Room
from planner.render.terminal.advice import changes_that_take_less
from planner.render.terminal.fits import STYLES
from planner.render.terminal.largest import (
    largest_batch_in_full,
    largest_image,
    longest_sequence,
    most_frames,
)
from planner.render.terminal.layout import warning_line
from planner.render.terminal.step_time import speed_rows
from planner.results import words as shown
from planner.results.device_estimate import DeviceEstimate, FitVerdict
from planner.results.estimate import Estimate
from planner.results.step_time import StepTime
from planner.timing.bottleneck import Bound
from planner.units import counted, format_bytes, format_part, format_percent, format_significant

_PROBABLY = "probably "
_NO_INTERVAL = "(interval not known)"
_DRAWN = "(sizes rest on drawn numbers)"


def verdict(estimate: Estimate) -> list[tuple[str, Text]]:
    """Returns a line for each card, or one for a survey; then changes that may help, warnings."""
    is_drawn = estimate.values.are_decided
    if estimate.is_survey:
        lines = [("all cards", _of_all(estimate.gpus, is_drawn=is_drawn))]
    else:
        lines = [(entry.requested, _of_card(entry, is_drawn=is_drawn)) for entry in estimate.gpus]
        less = changes_that_take_less(estimate)
        if less:
            lines.append(("may help", Text("; ".join(less))))
    return [*lines, *warning_line(estimate)]


def fit_words(entry: DeviceEstimate, *, is_drawn: bool = False) -> str:
    """Returns whether it fits, the sizes and how sure it is; `is_drawn`: drawn numbers decided."""
    return f"{shown.fit_words(entry, is_drawn=is_drawn)}, {_sizes(entry)}" + (
        f" {_DRAWN}" if is_drawn else ""
    )


def _sizes(entry: DeviceEstimate) -> str:
    sizes = format_part(entry.device_total_bytes, entry.usable_memory_bytes)
    if entry.reserve_bytes:
        sizes += f" with {format_bytes(entry.reserve_bytes)} kept free"
    over = "" if entry.fits else f", {format_bytes(entry.missing_bytes)} too much"
    interval = entry.device_total_interval_bytes
    if interval is None:
        return f"{sizes}{over} {_NO_INTERVAL}"
    if entry.is_sure:
        return f"{sizes}{over}"
    covered = entry.interval_coverage
    cases = "" if covered is None else f" ({format_percent(covered, 1)} interval)"
    end = f"up to {format_bytes(interval[1])}"
    if not entry.fits:
        end = f"as little as {format_bytes(interval[0])}"
    return f"{sizes}{over}; it may take {end}{cases}"


def _of_card(entry: DeviceEstimate, *, is_drawn: bool) -> Text:
    others = (_largest(entry), _speed(entry), *_host(entry))
    text = Text(fit_words(entry, is_drawn=is_drawn), style=STYLES[entry.verdict])
    for other in filter(None, others):
        text.append(f"; {other}", style="not bold default")
    return text


def _largest(entry: DeviceEstimate) -> str:
    if entry.max_batch_size == 0:
        over = entry.batch_1_missing_bytes
        return "not even batch 1 fits" + (f" ({format_bytes(over)} too much)" if over else "")
    found = (("largest batch", largest_batch_in_full(entry)),
             ("longest sequence", longest_sequence(entry)),
             ("largest image", largest_image(entry)),
             ("most frames", most_frames(entry)))  # fmt: skip
    return "; ".join(f"{label} {size}" for label, size in found if size)


def _speed(entry: DeviceEstimate) -> str:
    """Returns the speed; "" if the step does not fit, or has no time (a warning says why)."""
    if entry.time is None or not entry.fits:
        return ""
    return ", ".join((_rate(entry.time), *_limits(entry.time)))


def _rate(time: StepTime) -> str:
    return f"about {format_significant(time.samples_per_s)} samples/s"


def _limits(time: StepTime) -> list[str]:
    bound = time.bottleneck.bound
    words = [] if bound in (Bound.VRAM, Bound.HOST_RAM) else [f"bound by {bound.value}"]
    if time.uncounted_operators:
        number = len(time.uncounted_operators)
        words.append(f"{counted(number, 'operator')} without a rule for FLOPs")
    return words


def _host(entry: DeviceEstimate) -> list[str]:
    """Returns the memories of the host that are too small."""
    if entry.host is None:
        return []
    rooms = (("host memory", entry.host.ram_room), ("shared memory", entry.host.shm_room))
    rows = speed_rows(entry)
    return [f"{label}: {rows[label]}" for label, room in rooms if room is Room.DOES_NOT_FIT]


def _of_all(cards: Sequence[DeviceEstimate], *, is_drawn: bool) -> Text:
    """Returns on how many cards the step fits, and the smallest and the fastest of these."""
    fitting = [card for card in cards if card.fits]
    sure = [card for card in fitting if card.verdict is FitVerdict.FITS]
    text = f"fits on {len(sure)} of {len(cards)} cards"
    if all(card.device_total_interval_bytes is None for card in cards):
        text = f"{_PROBABLY}{text} {_NO_INTERVAL}"
    elif is_drawn:
        text = f"{_PROBABLY}fits on {len(fitting)} of {len(cards)} cards {_DRAWN}"
    elif len(sure) < len(fitting):
        text += f", probably on {len(fitting) - len(sure)} more"
    style = STYLES[FitVerdict.FITS if sure else FitVerdict.DOES_NOT_FIT]
    if not fitting:
        nearest = min(cards, key=lambda card: card.missing_bytes)
        over = format_bytes(nearest.missing_bytes)
        return Text(f"{text}; the nearest is {nearest.requested}, {over} too much", style=style)
    smallest = min(sure or fitting, key=lambda card: (card.usable_memory_bytes, card.requested))
    usable = format_bytes(smallest.usable_memory_bytes)
    whole = Text(text, style=style)
    whole.append(f"; smallest {smallest.requested}, {usable}", style="not bold default")
    return whole.append(_fastest(fitting), style="not bold default")


def _fastest(fitting: Sequence[DeviceEstimate]) -> str:
    """Returns the fastest card; "" if several have the same rounded rate."""
    timed = [(card.time.samples_per_s, card.requested) for card in fitting if card.time is not None]
    fastest = max(timed, default=None)
    if fastest is None:
        return ""
    rate = format_significant(fastest[0])
    if sum(format_significant(other) == rate for other, _ in timed) > 1:
        return ""
    return f"; fastest {fastest[1]}, about {rate} samples/s"
