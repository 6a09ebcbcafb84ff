"""This machine as a host: cores under limits, the record of its processor, short measurements."""

from __future__ import annotations

import json
import os
import sys
import time

import pytest

from planner.errors import UnsupportedPlatformError
from planner.hardware.cpu_specs import CpuVendor
from planner.hardware.database import load_cpus
from planner.hardware.specs import Confidence
from planner.machine import this_host as module
from planner.machine.cpu_identity import CpuIdentity
from planner.machine.this_host import (
    fastest_rate,
    jpeg_decode_rate,
    measured_cpu,
    memory_copy_rate,
    this_host,
    usable,
)
from planner.units import GIB

EPYC = CpuIdentity(
    name="AMD EPYC 7763", vendor=CpuVendor.AMD, architecture="zen3", clock_hz=2_450_000_000
)
HIDDEN = CpuIdentity(
    name="AMD EPYC", vendor=CpuVendor.AMD, architecture="zen4", clock_hz=2_600_000_000
)


@pytest.mark.parametrize(
    ("threads", "cores", "quota", "expected"),
    [
        (8, 4, None, (8, 4.0)),
        (8, 4, 16.0, (8, 4.0)),
        (8, 4, 4.0, (4, 4.0)),  # four threads on four cores
        (8, 4, 3.0, (3, 3.0)),
        (8, 4, 1.5, (2, 1.5)),
        (8, 4, 0.25, (1, 0.25)),
        (2, 1, 1.5, (2, 1.0)),  # the two share a core
    ],
)
def test_limits_of_cpu_time(
    threads: int, cores: int, quota: float | None, expected: tuple[int, float]
) -> None:
    assert usable(threads, cores, quota) == expected


def test_a_known_processor_keeps_its_record_and_gets_the_rate() -> None:
    cpu = measured_cpu(EPYC, load_cpus(), shape=(2, 4), clock_hz=None, rate=402.75)
    assert (cpu.id, cpu.cores, cpu.threads) == ("epyc-7763", 64, 128)
    assert cpu.core_speed == pytest.approx(402.75 / 537)
    assert cpu.core_speed_basis.startswith("measured: 403 JPEGs/s")


def test_a_measured_record_keeps_its_rate_without_pillow() -> None:
    identity = CpuIdentity(
        name="AMD EPYC 9B45", vendor=CpuVendor.AMD, architecture="zen5", clock_hz=None
    )
    cpu = measured_cpu(identity, load_cpus(), shape=(2, 4), clock_hz=None, rate=None)
    assert cpu.jpeg_decode_items_per_s == 726


def test_a_hidden_processor_is_what_is_known_of_it() -> None:
    cpu = measured_cpu(HIDDEN, load_cpus(), shape=(2, 4), clock_hz=None, rate=None)
    assert (cpu.id, cpu.name, cpu.cores, cpu.threads) == ("this", "AMD EPYC", 2, 4)
    assert cpu.core_speed == pytest.approx(2.6 / 3.7)
    assert cpu.confidence is Confidence.LOW
    faster = measured_cpu(HIDDEN, load_cpus(), shape=(2, 4), clock_hz=3_700_000_000, rate=None)
    assert faster.core_speed == pytest.approx(1.0)
    measured = measured_cpu(HIDDEN, load_cpus(), shape=(2, 4), clock_hz=None, rate=268.5)
    assert measured.core_speed == 0.5


def test_a_processor_without_a_name_is_not_looked_up() -> None:
    identity = CpuIdentity(
        name=None, vendor=CpuVendor.UNKNOWN, architecture="neoverse-n1", clock_hz=None
    )
    cpu = measured_cpu(identity, load_cpus(), shape=(4, 4), clock_hz=None, rate=None)
    assert cpu.name == "unknown processor (neoverse-n1)"
    assert (cpu.core_speed, cpu.boost_clock_hz) == (1.0, None)


def test_the_fastest_repeat_counts_and_waiting_does_not() -> None:
    pauses = iter([0.0, 0.03, 0.0, 0.0])

    def work() -> None:
        time.sleep(next(pauses, 0.0))  # the first call is not counted
        end = time.thread_time() + 0.002
        while time.thread_time() < end:
            pass

    rate = fastest_rate(work, for_s=0.1, repeat_s=0.01)
    assert 300 < rate <= 500  # at most 1 / 0.002


def test_even_no_time_at_all_gives_one_repeat() -> None:
    assert fastest_rate(lambda: sum(range(1000)), for_s=0.0, repeat_s=0.001) > 0


def test_jpegs_are_decoded() -> None:
    pytest.importorskip("PIL")
    rate = jpeg_decode_rate(for_s=0.2)
    assert rate is not None
    assert 20 < rate < 3000


def test_without_pillow_there_is_no_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    assert jpeg_decode_rate(for_s=0.0) is None


def test_memory_is_copied() -> None:
    assert 1e8 < memory_copy_rate(for_s=0.0) < 1e12


def test_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """The parts are put together: the least of two memories, cores under a quota, sources."""
    monkeypatch.setattr(module, "memory_total_bytes", lambda: 64 * GIB)
    monkeypatch.setattr(module, "memory_limit_bytes", lambda: 8 * GIB)
    monkeypatch.setattr(module, "cpu_quota", lambda: 2.5)
    monkeypatch.setattr(module, "physical_cores", lambda threads: len(threads) // 2)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)))
    monkeypatch.setattr(module, "cpu_identity", lambda: EPYC)
    monkeypatch.setattr(module, "jpeg_decode_rate", lambda: 300.0)
    monkeypatch.setattr(module, "memory_copy_rate", lambda: 9e9)
    host = this_host()
    assert (host.id, host.cpu.id) == ("this", "epyc-7763")
    assert (host.vcpus, host.physical_cores, host.ram_bytes) == (3, 2.5, 8 * GIB)
    assert host.cpu.jpeg_decode_items_per_s == 300.0
    assert host.memory_copy_bytes_per_s == 9e9
    assert "control group: 2.5 CPUs" in dict(host.sources)["processor"]
    assert host.confidence is Confidence.HIGH
    assert json.loads(json.dumps(host.to_dict()))["physical_cores"] == 2.5


def test_without_pillow_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "jpeg_decode_rate", lambda: None)
    monkeypatch.setattr(module, "memory_copy_rate", lambda: 9e9)
    monkeypatch.setattr(module, "cpu_identity", lambda: EPYC)
    host = this_host()
    assert "Pillow is not installed" in dict(host.sources)["decode"]
    assert host.confidence is Confidence.LOW
    assert host.cpu.core_speed_basis.startswith("estimated from the boost clock, 3.5 GHz")


def test_elsewhere_than_on_linux(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "memory_total_bytes", lambda: None)
    with pytest.raises(UnsupportedPlatformError, match="planner hosts"):
        this_host()
