"""Step time, its bound, host, energy and cost: rows of a card, and a sentence.

In: DeviceEstimate. Out: text by label, "" where there is nothing to say. Convention: plain ASCII;
figures have three digits.
"""

from __future__ import annotations

from planner.cost.energy import StepCost
from planner.input_pipeline.host_ram import Room
from planner.input_pipeline.loader import NO_WORKERS
from planner.results.device_estimate import DeviceEstimate
from planner.results.estimate import Estimate
from planner.results.step_time import HostNeeds, StepTime
from planner.units import (
    SECONDS_PER_HOUR,
    format_bytes,
    format_duration,
    format_percent,
    format_range,
    format_significant,
)
from planner.wire.trace import Phase

_MILLION = 1_000_000
_LABELS = (
    "step time", "time interval", "throughput", "first token", "later tokens", "per GPU",
    "scaling efficiency",
    *(f"- {phase.value}" for phase in Phase),
    "- offload", "messages", "pipeline bubble", "bound", "next bound", "cores needed", "workers",
    "host memory", "shared memory", "energy", "cost", "epoch", "epoch energy", "epoch cost",
)  # fmt: skip


def speed_rows(entry: DeviceEstimate) -> dict[str, str]:
    """Returns the rows of one card, in order; every card has all labels."""
    rows = dict.fromkeys(_LABELS, "")
    if entry.time is not None:
        rows |= _time_rows(entry.time, fits=entry.fits)
    if entry.host is not None:
        rows |= _host_rows(entry.host)
    if entry.cost is not None:
        rows |= _cost_rows(entry.cost)
    return rows


def faster(estimate: Estimate) -> tuple[str, ...]:
    """Returns a sentence with the best change of each card; cards with the same one share it."""
    cards: dict[str, list[str]] = {}
    for entry in estimate.gpus:
        if entry.time is not None and entry.time.gains:
            best = entry.time.gains[0]
            about = "about " if best.is_approximate else ""
            text = f"{about}x{format_significant(best.factor)} with {best.change}"
            cards.setdefault(text, []).append(entry.requested)
    return tuple(f"{', '.join(names)}: {text}" for text, names in cards.items())


def bound_words(time: StepTime) -> str:
    """Returns the bound of the step, with its share of the step time if it has one."""
    share = time.bottleneck.share
    name = time.bottleneck.bound.value
    return name if share is None else f"{name}, {format_percent(share, 1)}"


def _time_rows(time: StepTime, *, fits: bool) -> dict[str, str]:
    found = time.bottleneck
    rows = {
        "step time": format_duration(time.step_s) + ("" if fits else ", if it fitted"),
        "throughput": f"{format_significant(time.samples_per_s)} samples/s",
        **{f"- {phase.value}": format_duration(seconds) for phase, seconds in time.phases_s},
        "bound": bound_words(time),
    }
    if time.first_token_s is not None and time.token_s is not None:
        rows["first token"] = f"after {format_duration(time.first_token_s)}"
        rows["later tokens"] = f"{format_duration(time.token_s)} each"
    if time.new_tokens_per_s is not None:
        rows["throughput"] = f"{format_significant(time.new_tokens_per_s)} new tokens/s"
    if time.samples_per_s_per_gpu is not None:
        rows["per GPU"] = _of_a_gpu(time, time.samples_per_s_per_gpu)
    if time.scaling_efficiency is not None:
        rows["scaling efficiency"] = format_percent(time.scaling_efficiency, 1)
    offload_s = (time.offload_copy_s or 0.0) + time.offload_update_s
    if offload_s:
        rows["- offload"] = format_duration(offload_s)
    if time.messages_s is not None and time.exposed_messages_s is not None:
        rows["messages"] = (
            f"{format_duration(time.messages_s)}, {format_duration(time.exposed_messages_s)} of it "
            "beside no kernel"
        )
    if time.bubble_s is not None:
        share = format_percent(time.bubble_s, time.step_s)
        rows["pipeline bubble"] = f"{format_duration(time.bubble_s)}, {share} of the step"
    # Equal ends: the step waits for the loader, which hides the time of the card.
    if time.interval_s is not None and time.interval_s[0] < time.interval_s[1]:
        low, high = map(format_duration, time.interval_s)
        covered = time.interval_coverage
        share = "" if covered is None else f", {format_percent(covered, 1)}"
        rows["time interval"] = f"{low} to {high}{share}"
    if found.runner_up is not None:
        factor = found.takes_over_factor
        at = "" if factor is None else f", at x{format_significant(factor)}"
        rows["next bound"] = f"{found.runner_up.value}{at}"
    return rows


def _of_a_gpu(time: StepTime, samples_per_s: float) -> str:
    tokens, mfu = time.tokens_per_s_per_gpu, time.mfu
    figures = [f"{format_significant(samples_per_s)} samples/s"]
    if tokens is not None:
        figures.append(f"{format_significant(tokens)} tokens/s")
    if mfu is not None:
        figures.append(f"MFU {format_percent(mfu, 1)}")
    return ", ".join(figures)


def _host_rows(host: HostNeeds) -> dict[str, str]:
    rows = {}
    if host.data is not None:
        rows["cores needed"] = _cores(host)
        rows["workers"] = str(host.workers or NO_WORKERS)
    is_asked = host.data is not None or host.ram.offloaded_bytes > 0
    if is_asked or host.ram_room is not Room.UNKNOWN:
        of_bytes = host.usable_ram_bytes
        rows["host memory"] = _taken(host.ram.total_bytes, of_bytes, host.ram_room)
    if host.shm_room in (Room.TIGHT, Room.DOES_NOT_FIT):
        rows["shared memory"] = _taken(host.ram.shm_peak_bytes, host.shm_bytes, host.shm_room)
    return rows


def _cores(host: HostNeeds) -> str:
    if host.cores_needed is None:
        return f"none is enough: {host.cores_limit}"
    needed = format_significant(host.cores_needed)
    return (
        f"{needed} like {host.cores_like}" if host.cores is None else f"{needed} of {host.cores:g}"
    )


def _taken(size_bytes: int, of_bytes: int | None, room: Room) -> str:
    if of_bytes is None:
        return format_bytes(size_bytes)
    if room is Room.DOES_NOT_FIT:
        return f"no, {format_bytes(size_bytes - of_bytes)} over {format_bytes(of_bytes)}"
    return f"{format_bytes(size_bytes)} of {format_bytes(of_bytes)}, {room.value}"


def _cost_rows(cost: StepCost) -> dict[str, str]:
    rows = {"energy": f"{format_range(cost.joule_per_sample, 'J')} a sample"}
    price, of_one, epoch = cost.price, cost.cost_per_sample, cost.epoch
    if price is not None and of_one is not None:
        million = (of_one[0] * _MILLION, of_one[1] * _MILLION)
        rows["cost"] = f"{format_range(million, price.currency)} a million samples"
    if epoch is not None:
        rows["epoch"] = format_duration(epoch.hours * SECONDS_PER_HOUR)
        rows["epoch energy"] = format_range(epoch.kwh, "kWh")
        if epoch.money is not None:
            rows["epoch cost"] = format_range(epoch.money, epoch.currency or "")
    return rows
