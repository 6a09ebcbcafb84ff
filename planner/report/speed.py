"""Step time, what holds it up, its host, its energy and its cost: rows of a card and a sentence.

In: GpuEstimate. Out: text by label, "" where there is nothing to say. Convention: plain ASCII;
figures have three digits.
"""

from __future__ import annotations

from planner.gpu_estimate import GpuEstimate
from planner.performance.cost import StepCost
from planner.performance.host_ram import Room
from planner.results import Estimate
from planner.speed_result import HostNeeds, StepTime
from planner.trace import Phase
from planner.units import (
    SECONDS_PER_HOUR,
    format_bytes,
    format_count,
    format_duration,
    format_percent,
    format_range,
    format_significant,
)

_MILLION = 1_000_000
_LABELS = (
    "step time", "throughput", *(f"- {phase.value}" for phase in Phase), "bound", "next bound",
    "cores needed", "host memory", "shared memory", "energy", "cost", "epoch",
)  # fmt: skip


def speed_rows(entry: GpuEstimate) -> dict[str, str]:
    """The rows of one card, in order; every card has all labels."""
    rows = dict.fromkeys(_LABELS, "")
    if entry.time is not None:
        rows |= _time_rows(entry.time, fits=entry.fits)
    if entry.host is not None:
        rows |= _host_rows(entry.host)
    if entry.cost is not None:
        rows |= _cost_rows(entry.cost)
    return rows


def faster(estimate: Estimate) -> tuple[str, ...]:
    """The best change for each card, as a sentence; cards with the same one share it."""
    cards: dict[str, list[str]] = {}
    for entry in estimate.gpus:
        if entry.time is not None and entry.time.gains:
            best = entry.time.gains[0]
            about = "about " if best.is_approximate else ""
            text = f"{about}x{format_significant(best.factor)} with {best.change}"
            cards.setdefault(text, []).append(entry.requested)
    return tuple(f"{', '.join(names)}: {text}" for text, names in cards.items())


def bound_words(time: StepTime) -> str:
    """What holds the step up, with its share of it where it is a matter of time."""
    share = time.bottleneck.share
    name = time.bottleneck.bound.value
    return name if share is None else f"{name}, {format_percent(share, 1)} of the step"


def _time_rows(time: StepTime, *, fits: bool) -> dict[str, str]:
    found, step = time.bottleneck, format_duration(time.step_s)
    if time.interval_s is not None:
        low, high = map(format_duration, time.interval_s)
        step += f", {low} to {high}"
        if time.interval_coverage is not None:
            step += f" in {format_percent(time.interval_coverage, 1)}"
    if not fits:
        step += ", if it fitted"
    rows = {
        "step time": step,
        "throughput": f"{format_significant(time.samples_per_s)} samples/s",
        **{f"- {phase.value}": format_duration(seconds) for phase, seconds in time.phases_s},
        "bound": bound_words(time),
    }
    if found.runner_up is not None:
        factor = found.takes_over_factor
        at = "" if factor is None else f", at x{format_significant(factor)}"
        rows["next bound"] = f"{found.runner_up.value}{at}"
    return rows


def _host_rows(host: HostNeeds) -> dict[str, str]:
    rows = {}
    if host.data is not None:
        there = "" if host.cores is None else f" of {host.cores:g}"
        rows["cores needed"] = (
            f"no number of them: {host.cores_limit}"
            if host.cores_needed is None
            else f"{format_significant(host.cores_needed)}{there}, like {host.cores_like}"
        )
    if host.data is not None or host.ram_room is not Room.UNKNOWN:
        rows["host memory"] = _taken(
            host.ram.total_bytes, host.usable_ram_bytes, host.ram_room, host.workers
        )
    if host.shm_room in (Room.TIGHT, Room.DOES_NOT_FIT):
        rows["shared memory"] = _taken(
            host.ram.shm_peak_bytes, host.shm_bytes, host.shm_room, host.workers
        )
    return rows


def _taken(size_bytes: int, of_bytes: int | None, room: Room, workers: int) -> str:
    of = "" if of_bytes is None else f" of {format_bytes(of_bytes)}"
    verdict = "" if room is Room.UNKNOWN else f", {room.value}"
    with_workers = f"{workers} worker{'' if workers == 1 else 's'}"
    return f"{format_bytes(size_bytes)}{of} with {with_workers}{verdict}"


def _cost_rows(cost: StepCost) -> dict[str, str]:
    rows = {"energy": f"{format_range(cost.joule_per_sample, 'J')} a sample"}
    price, of_one = cost.price, cost.cost_per_sample
    if price is not None and of_one is not None:
        million = (of_one[0] * _MILLION, of_one[1] * _MILLION)
        rows["cost"] = f"{format_range(million, price.currency)} for a million samples"
    epoch = cost.epoch
    if epoch is not None:
        said = [format_duration(epoch.hours * SECONDS_PER_HOUR), format_range(epoch.kwh, "kWh")]
        if epoch.money is not None:
            said.append(format_range(epoch.money, epoch.currency or ""))
        rows["epoch"] = f"{', '.join(said)} for {format_count(epoch.samples)} samples"
    return rows
