"""Computes what a job requests of a scheduler: cards, their memory, RAM, /dev/shm, CPUs.

In: an Estimate. Out: JobNeeds. Convention: a figure is its upper end: the high end of the interval
of device total; RAM and /dev/shm so large that the job takes at most a part that leaves room (as
Room.FITS). Only cards on which the step fits are requested.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from planner.errors import UsageError
from planner.input_pipeline.host_ram import comfortable_bytes
from planner.render.outside_text import shown
from planner.results.device_estimate import DeviceEstimate, FitVerdict
from planner.results.estimate import EMULATED, Estimate
from planner.results.step_time import HostNeeds
from planner.results.words import interval_words, step_words, total_words
from planner.units import GIB, MIB, counted, format_bytes

# A cloud sells a thread of a core as a CPU (two threads a core on x86:
# https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/cpu-options-supported-instances-values.html).
_CPUS_PER_CORE = 2
# RAM that a process takes once it uses a card: driver and libraries. The emulated device takes none
# of it. 1,203.5 MiB measured: https://github.com/pytorch/pytorch/issues/106511
_CUDA_RAM_BYTES = 1204 * MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class JobNeeds:
    """What one job requests, and the sentences on it. None: not known, so not requested."""

    cards: tuple[DeviceEstimate, ...]
    """Cards on which the step fits, in the order of the call; empty: none, so no request."""
    device_bytes: int
    """Most memory that it takes on any of `cards`, with what the caller keeps free."""
    ram_bytes: int | None
    """RAM of the host, /dev/shm included."""
    shm_bytes: int | None
    """Size of /dev/shm; 0: nothing is in it."""
    cpus: int | None
    """Threads of a processor."""
    comments: tuple[str, ...]
    """Sentences on the request, a line each."""

    @property
    def ram_gib(self) -> int | None:
        """Returns the RAM in whole GiB, rounded up."""
        return None if self.ram_bytes is None else max(1, -(-self.ram_bytes // GIB))

    @property
    def shm_mib(self) -> int | None:
        """Returns /dev/shm in whole MiB, rounded up; None also where nothing is in it."""
        return -(-self.shm_bytes // MIB) if self.shm_bytes else None

    @property
    def device_mib(self) -> int:
        """Returns the memory of the card in whole MiB, rounded up."""
        return -(-self.device_bytes // MIB)


def job_needs(estimate: Estimate) -> JobNeeds:
    """Returns the needs of the job on the cards on which its step fits.

    Raises:
        UsageError: it is an estimate on the CPU, which has no card to request.
    """
    if estimate.engine != EMULATED:
        raise UsageError("a resource request needs a card, and this estimate is of a CPU")
    cards = tuple(entry for entry in estimate.gpus if entry.fits)
    hosts = [entry.host for entry in cards if entry.host is not None]
    return JobNeeds(
        cards=cards,
        device_bytes=max(map(upper_bytes, cards), default=0),
        ram_bytes=max(map(_ram_bytes, hosts), default=None),
        shm_bytes=max((comfortable_bytes(one.ram.shm_peak_bytes) for one in hosts), default=None),
        cpus=max(map(_cpus, hosts), default=None),
        comments=_comments(estimate, cards, hosts),
    )


def upper_bytes(entry: DeviceEstimate) -> int:
    """Returns the upper end of the device total, and the memory that is kept free.

    Not more than the card has: with less than the whole card the job never gets more.
    """
    interval = entry.device_total_interval_bytes
    high_bytes = entry.device_total_bytes if interval is None else interval[1]
    return min(high_bytes + entry.reserve_bytes, entry.total_memory_bytes)


def _ram_bytes(host: HostNeeds) -> int:
    return comfortable_bytes(host.ram.total_bytes + _CUDA_RAM_BYTES)


def _cpus(host: HostNeeds) -> int:
    """Returns a CPU for each worker and for the training loop, or more if the data need more."""
    for_data = 0 if host.cores_needed is None else math.ceil(_CPUS_PER_CORE * host.cores_needed)
    return max(host.workers, for_data) + 1


def _comments(
    estimate: Estimate, cards: tuple[DeviceEstimate, ...], hosts: list[HostNeeds]
) -> tuple[str, ...]:
    lines = [
        f"{shown(estimate.target)}, {step_words(estimate.config)}",
        f"predicted without a card by planner {estimate.versions.planner}, "
        f"torch {estimate.versions.torch}",
        *(_card_line(entry) for entry in estimate.gpus),
    ]
    if cards:
        lines += _host_lines(hosts)
    lines += [f"warning: {shown(text)}" for text in estimate.warnings]
    return tuple(lines)


def _card_line(entry: DeviceEstimate) -> str:
    """Returns the card with its device total, and whether it is requested."""
    start = f"{shown(entry.name)}: {total_words(entry)} ({interval_words(entry)})"
    if not entry.fits:
        return f"{start}: does not fit, {format_bytes(entry.missing_bytes)} too much; not requested"
    if entry.verdict is FitVerdict.TIGHT:
        return f"{start}: tight, the upper end of the interval is more than the card has"
    return start


def _host_lines(hosts: list[HostNeeds]) -> list[str]:
    if not hosts:
        return ["RAM and CPUs are not known and not requested: the step could not be counted"]
    host = hosts[0]
    lines = [
        f"RAM: the job takes {format_bytes(max(one.ram.total_bytes for one in hosts))} with "
        f"{counted(host.workers, 'loader worker')}, and about {format_bytes(_CUDA_RAM_BYTES)} for "
        "CUDA itself; a data set held in memory comes in addition"
    ]
    if host.data is None:
        lines.append(
            "CPUs: one for each worker and one for the loop; with --data the decoding is counted"
        )
    lines += [
        f"warning: the data cannot feed the card: the limit is {one.cores_limit}"
        for one in hosts[:1]
        if one.cores_limit is not None
    ]
    return lines
