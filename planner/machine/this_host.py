"""Describes this machine as a host: what a process may use of it, and how fast it is.

In: /proc, /sys and about 2 seconds of measurement. Out: HostSpec, with the id "this".
Convention: a rate is per second of this thread's CPU time, and the fastest of several repeats
counts: other processes can only slow a measurement down.
"""

from __future__ import annotations

import io
import math
import os
import time
from collections.abc import Callable
from dataclasses import replace

from planner.errors import UnknownCpuError, UnsupportedPlatformError
from planner.hardware.cpu_specs import CpuSpec
from planner.hardware.database import CpuDatabase, load_cpus
from planner.hardware.host_specs import HostSpec
from planner.hardware.specs import Confidence
from planner.machine.cpu_identity import CpuIdentity, cpu_identity
from planner.machine.host_limits import (
    cpu_quota,
    greatest_clock_hz,
    memory_limit_bytes,
    memory_total_bytes,
    physical_cores,
    shm_bytes,
)
from planner.units import MIB

NAME = "this"

_DECODE_TIME_S = 1.5
_COPY_TIME_S = 0.4
_REPEAT_S = 0.1  # enough for about 20 images; short enough that some repeats are undisturbed
# With this share of noise the image has about 110 kB, as the mean of ImageNet.
_NOISE_SHARE = 0.55
_SIZE = (500, 375)
_QUALITY = 90
_COPY_BYTES = 64 * MIB  # more than caches hold


def this_host(cpus: CpuDatabase | None = None) -> HostSpec:
    """Reads the limits of this process and measures for about 2 seconds.

    Raises:
        UnsupportedPlatformError: not Linux: neither limits nor memory can be read.
    """
    total = memory_total_bytes()
    if total is None or not hasattr(os, "sched_getaffinity"):
        raise UnsupportedPlatformError(
            "this machine's cores and memory cannot be read from /proc; `this` needs Linux: "
            "choose a host with `planner hosts`"
        )
    threads = frozenset(os.sched_getaffinity(0))
    quota, limit = cpu_quota(), memory_limit_bytes()
    cores = physical_cores(threads)
    vcpus, usable_cores = usable(len(threads), cores, quota)
    rate = jpeg_decode_rate()
    return HostSpec(
        id=NAME,
        name="this machine",
        aliases=(),
        cpu=_this_cpu(cpus or load_cpus(), threads, cores, rate),
        vcpus=vcpus,
        physical_cores=usable_cores,
        ram_bytes=total if limit is None else min(total, limit),
        shm_bytes=shm_bytes(),
        gpus=(),
        pcie_generation=None,
        pcie_lanes=None,
        storage_bytes_per_s=None,
        memory_copy_bytes_per_s=memory_copy_rate(),
        prices=(),
        sources=_sources(quota, limit, rate),
        confidence=Confidence.HIGH if rate is not None else Confidence.LOW,
        note="Cards, slot and storage are not looked at.",
    )


def this_core_speed() -> float:
    """Measures how fast a core of this machine prepares data, relative to the reference core."""
    threads = frozenset(os.sched_getaffinity(0))
    cpu = _this_cpu(load_cpus(), threads, physical_cores(threads), jpeg_decode_rate())
    return cpu.core_speed


def _this_cpu(
    cpus: CpuDatabase, threads: frozenset[int], cores: int, rate: float | None
) -> CpuSpec:
    return measured_cpu(
        cpu_identity(),
        cpus,
        shape=(cores, len(threads)),
        clock_hz=greatest_clock_hz(),
        rate=rate,
    )


def usable(threads: int, cores: int, quota: float | None) -> tuple[int, float]:
    """Returns the hardware threads and cores that can work at once under a limit of CPU time.

    A quota of 1.5 lets two threads run, but gives them no more time than one core and a half.
    """
    if quota is None:
        return threads, float(cores)
    return max(1, min(threads, math.ceil(quota))), min(float(cores), quota)


def measured_cpu(
    identity: CpuIdentity,
    cpus: CpuDatabase,
    *,
    shape: tuple[int, int],
    clock_hz: int | None,
    rate: float | None,
) -> CpuSpec:
    """Returns the database's record of this processor with the measured rate.

    For a processor that is not in the database the record holds what /proc and /sys report.
    `shape` is the number of cores and threads that this process may use; it serves then.
    """
    if identity.name is not None:
        try:
            known = cpus.find(identity.name).spec
        except UnknownCpuError:
            pass
        else:
            return replace(known, jpeg_decode_items_per_s=rate or known.jpeg_decode_items_per_s)
    cores, threads = shape
    clocks = [clock for clock in (clock_hz, identity.clock_hz) if clock is not None]
    return CpuSpec(
        id=NAME,
        name=identity.name or f"unknown processor ({identity.architecture})",
        aliases=(),
        vendor=identity.vendor,
        architecture=identity.architecture,
        performance_cores=cores,
        efficiency_cores=0,
        threads=threads,
        base_clock_hz=None,
        boost_clock_hz=max(clocks, default=None),
        l2_bytes=None,
        l3_bytes=None,
        memory_channels=None,
        memory_transfers_per_s=None,
        memory_bandwidth_bytes_per_s=None,
        pcie_generation=None,
        pcie_lanes=None,
        tdp_w=None,
        jpeg_decode_items_per_s=rate,
        sources=(("cores", "/sys/devices/system/cpu"), ("clock", "/sys or /proc/cpuinfo")),
        confidence=Confidence.LOW,
        note="Not in the database: cores are those that this process may use.",
    )


def jpeg_decode_rate(for_s: float = _DECODE_TIME_S) -> float | None:
    """Measures how many JPEGs one thread decodes per second with Pillow; None without Pillow."""
    try:
        from PIL import Image  # an extra of many installations, not needed by anything else here
    except ImportError:
        return None
    ramp = Image.linear_gradient("L").resize(_SIZE)
    smooth = Image.merge("RGB", (ramp, Image.radial_gradient("L").resize(_SIZE), ramp))
    noise = Image.merge("RGB", [Image.effect_noise(_SIZE, 40) for _ in range(3)])
    encoded = io.BytesIO()
    Image.blend(smooth, noise, _NOISE_SHARE).save(encoded, "JPEG", quality=_QUALITY)
    data = encoded.getvalue()
    return fastest_rate(lambda: Image.open(io.BytesIO(data)).convert("RGB").load(), for_s)


def memory_copy_rate(for_s: float = _COPY_TIME_S) -> float:
    """Measures the bytes that one thread copies per second, each read once and written once."""
    source, target = bytearray(_COPY_BYTES), bytearray(_COPY_BYTES)
    view = memoryview(target)

    def copy() -> None:
        view[:] = source

    return fastest_rate(copy, for_s) * _COPY_BYTES


def fastest_rate(work: Callable[[], object], for_s: float, repeat_s: float = _REPEAT_S) -> float:
    """Returns calls per second of the fastest of several repeats, after one uncounted call."""
    work()
    best, end = 0.0, time.perf_counter() + for_s
    while best == 0.0 or time.perf_counter() < end:
        calls, start = 0, time.thread_time()
        while (spent := time.thread_time() - start) < repeat_s:
            work()
            calls += 1
        best = max(best, calls / spent)
    return best


def _sources(
    quota: float | None, limit: int | None, rate: float | None
) -> tuple[tuple[str, str], ...]:
    time_limit = "no limit of CPU time" if quota is None else f"control group: {quota:g} CPUs"
    memory_limit = "no limit" if limit is None else "a limit"
    decode = (
        "Pillow is not installed (`pip install pillow`): by the clock"
        if rate is None
        else f"measured now: {_SIZE[0]} x {_SIZE[1]}, quality {_QUALITY}, one thread, Pillow"
    )
    return (
        ("processor", f"/proc/cpuinfo; threads that this process may run on; {time_limit}"),
        ("memory", f"/proc/meminfo, {memory_limit} in its control group; size of /dev/shm"),
        ("decode", decode),
        ("memory_copy", "measured now: 64 MiB, one thread"),
    )
