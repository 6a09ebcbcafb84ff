"""What control groups, topology and /proc say, from real files in a folder of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from planner.machine.host_limits import (
    cpu_quota,
    greatest_clock_hz,
    listed_sizes,
    memory_available_bytes,
    memory_limit_bytes,
    memory_total_bytes,
    physical_cores,
    shm_bytes,
)
from planner.units import GIB, KIB


def put(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An empty /sys/fs/cgroup."""
    folder = tmp_path / "cgroup"
    folder.mkdir()
    return folder


@pytest.mark.parametrize(
    ("content", "quota"),
    [
        ("max 100000\n", None),
        ("150000 100000\n", 1.5),
        ("400000 100000\n", 4.0),
        ("50000 100000\n", 0.5),
        ("garbage\n", None),
        ("", None),
        ("100000 0\n", None),
    ],
)
def test_quota_of_version_2(root: Path, tmp_path: Path, content: str, quota: float | None) -> None:
    membership = put(tmp_path / "membership", "0::/job/step\n")
    put(root / "job" / "step" / "cpu.max", content)
    assert cpu_quota(root, membership) == quota


def test_the_least_quota_of_all_groups_above_counts(root: Path, tmp_path: Path) -> None:
    membership = put(tmp_path / "membership", "0::/job/step/task\n")
    put(root / "job" / "step" / "cpu.max", "800000 100000")
    put(root / "job" / "cpu.max", "200000 100000")
    (root / "job" / "step" / "task").mkdir()
    assert cpu_quota(root, membership) == 2.0


def test_a_container_sees_its_limits_at_the_root(root: Path, tmp_path: Path) -> None:
    """The path is that of the machine, which is not mounted in the container."""
    membership = put(tmp_path / "membership", "0::/docker/0123456789ab\n")
    put(root / "cpu.max", "300000 100000")
    put(root / "memory.max", f"{2 * GIB}\n")
    assert cpu_quota(root, membership) == 3.0
    assert memory_limit_bytes(root, membership) == 2 * GIB


def test_a_path_that_leads_out_of_the_mount_is_not_followed(root: Path, tmp_path: Path) -> None:
    membership = put(tmp_path / "membership", "0::/../other\n")
    put(tmp_path / "other" / "cpu.max", "100000 100000")
    put(root / "cpu.max", "300000 100000")
    assert cpu_quota(root, membership) == 3.0


@pytest.mark.parametrize("mount", ["cpu,cpuacct", "cpu"])
def test_quota_of_version_1(root: Path, tmp_path: Path, mount: str) -> None:
    membership = put(
        tmp_path / "membership",
        "12:pids:/a\n5:memory:/a\n4:cpu,cpuacct:/a/b\n1:name=systemd:/a\n0::/\n",
    )
    put(root / mount / "a" / "b" / "cpu.cfs_quota_us", "-1\n")
    put(root / mount / "a" / "b" / "cpu.cfs_period_us", "100000\n")
    assert cpu_quota(root, membership) is None
    put(root / mount / "a" / "cpu.cfs_quota_us", "250000\n")
    put(root / mount / "a" / "cpu.cfs_period_us", "100000\n")
    assert cpu_quota(root, membership) == 2.5


def test_other_controllers_are_not_taken_for_cpu(root: Path, tmp_path: Path) -> None:
    membership = put(tmp_path / "membership", "3:cpuset:/a\n")
    put(root / "cpuset" / "a" / "cpu.cfs_quota_us", "100000")
    put(root / "cpuset" / "a" / "cpu.cfs_period_us", "100000")
    assert cpu_quota(root, membership) is None


def test_memory_limit_of_version_1(root: Path, tmp_path: Path) -> None:
    membership = put(tmp_path / "membership", "5:memory:/a/b\n")
    put(root / "memory" / "memory.limit_in_bytes", "9223372036854771712\n")  # no limit
    (root / "memory" / "a" / "b").mkdir(parents=True)
    assert memory_limit_bytes(root, membership) is None
    put(root / "memory" / "a" / "b" / "memory.limit_in_bytes", f"{8 * GIB}\n")
    put(root / "memory" / "a" / "memory.limit_in_bytes", f"{4 * GIB}\n")
    assert memory_limit_bytes(root, membership) == 4 * GIB


def test_memory_limit_of_version_2(root: Path, tmp_path: Path) -> None:
    membership = put(tmp_path / "membership", "0::/a/b\n")
    put(root / "a" / "b" / "memory.max", "max\n")
    assert memory_limit_bytes(root, membership) is None
    put(root / "a" / "memory.max", "123456\n")
    assert memory_limit_bytes(root, membership) == 123_456


def test_nothing_to_read_is_no_limit(root: Path, tmp_path: Path) -> None:
    assert cpu_quota(root, tmp_path / "missing") is None
    assert memory_limit_bytes(root, tmp_path / "missing") is None
    assert memory_total_bytes(tmp_path / "missing") is None
    assert greatest_clock_hz(tmp_path) is None
    assert shm_bytes(tmp_path / "missing") is None


def test_memory_of_the_machine(tmp_path: Path) -> None:
    text = "MemFree:  1 kB\nMemTotal:   24684084 kB\nHugePages_Total:  7\nMemAvailable: 23 kB\n"
    meminfo = put(tmp_path / "meminfo", text)
    assert memory_total_bytes(meminfo) == 24_684_084 * KIB
    assert memory_available_bytes(meminfo) == 23 * KIB
    assert set(listed_sizes(meminfo)) == {"MemFree", "MemTotal", "MemAvailable"}
    assert memory_available_bytes(put(tmp_path / "old", "MemTotal: 24684084 kB\n")) is None


@pytest.mark.parametrize("name", ["core_cpus_list", "thread_siblings_list"])
def test_threads_of_one_core_are_one_core(tmp_path: Path, name: str) -> None:
    """Threads 0 and 4, 1 and 5, ... share a core."""
    for thread in range(8):
        first = thread % 4
        put(tmp_path / f"cpu{thread}" / "topology" / name, f"{first},{first + 4}\n")
    assert physical_cores(frozenset(range(8)), tmp_path) == 4
    assert physical_cores(frozenset({0, 4}), tmp_path) == 1
    assert physical_cores(frozenset({0, 1, 2, 5}), tmp_path) == 3


def test_without_topology_each_thread_is_a_core(tmp_path: Path) -> None:
    assert physical_cores(frozenset({0, 3, 9}), tmp_path) == 3


def test_greatest_clock(tmp_path: Path) -> None:
    put(tmp_path / "cpu0" / "cpufreq" / "cpuinfo_max_freq", "4900000\n")
    assert greatest_clock_hz(tmp_path) == 4_900_000_000


def test_shm_is_the_size_of_its_file_system(tmp_path: Path) -> None:
    size = shm_bytes(tmp_path)
    assert size is not None
    assert size > 0
