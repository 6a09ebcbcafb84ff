"""Reads the limits of this process on its machine: cores, CPU time, memory, /dev/shm.

In: files of /proc and /sys, at paths that a test can replace. Out: counts and bytes, None if no
file says it. Convention: a limit is the least of all that apply, also of parent groups.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from planner.units import KIB

CGROUP_ROOT = Path("/sys/fs/cgroup")
CGROUP_MEMBERSHIP = Path("/proc/self/cgroup")
CPU_ROOT = Path("/sys/devices/system/cpu")
MEMINFO = Path("/proc/meminfo")
SHM = Path("/dev/shm")

_NO_LIMIT_BYTES = 1 << 60  # version 1 writes its largest number where there is no limit


def cpu_quota(root: Path = CGROUP_ROOT, membership: Path = CGROUP_MEMBERSHIP) -> float | None:
    """Returns the CPU time per second that the control groups allow; None without a limit."""
    quotas = []
    for group in _groups(root, membership, "cpu"):
        quota, _, period = (_content(group / "cpu.max") or "").partition(" ")
        if not quota:
            quota = _content(group / "cpu.cfs_quota_us") or ""
            period = _content(group / "cpu.cfs_period_us") or ""
        if quota.isdigit() and period.isdigit() and int(period) > 0:  # else "max" or -1
            quotas.append(int(quota) / int(period))
    return min(quotas, default=None)


def memory_limit_bytes(
    root: Path = CGROUP_ROOT, membership: Path = CGROUP_MEMBERSHIP
) -> int | None:
    """Returns the memory that the process's control groups allow; None without a limit."""
    limits = []
    for group in _groups(root, membership, "memory"):
        text = _content(group / "memory.max") or _content(group / "memory.limit_in_bytes") or ""
        if text.isdigit() and int(text) < _NO_LIMIT_BYTES:
            limits.append(int(text))
    return min(limits, default=None)


def memory_total_bytes(meminfo: Path = MEMINFO) -> int | None:
    """Returns the RAM of the machine."""
    return listed_sizes(meminfo).get("MemTotal")


def memory_available_bytes(meminfo: Path = MEMINFO) -> int | None:
    """Returns the memory that a new process can take without swapping (Linux 3.14 and later)."""
    return listed_sizes(meminfo).get("MemAvailable")


def memory_room_bytes() -> int | None:
    """Returns the memory that new processes can take here; None where no file says it."""
    sizes = [size for size in (memory_available_bytes(), memory_limit_bytes()) if size is not None]
    return min(sizes, default=None)


def listed_sizes(path: Path) -> dict[str, int]:
    """Returns sizes by name from the `name: 12 kB` lines of a file of /proc; skips other lines."""
    sizes: dict[str, int] = {}
    for line in (_content(path) or "").splitlines():
        name, _, value = line.partition(":")
        words = value.split()
        if words[1:] == ["kB"]:
            sizes[name] = int(words[0]) * KIB  # the kernel writes kB and means KiB
    return sizes


def physical_cores(threads: frozenset[int], cpu_root: Path = CPU_ROOT) -> int:
    """Counts the cores of the hardware threads; a thread of an unknown core counts as one core."""
    cores = set()
    for thread in threads:
        topology = cpu_root / f"cpu{thread}" / "topology"
        siblings = _content(topology / "core_cpus_list") or _content(
            topology / "thread_siblings_list"  # its name before Linux 5.3
        )
        cores.add(siblings or str(thread))
    return len(cores)


def greatest_clock_hz(cpu_root: Path = CPU_ROOT) -> int | None:
    """Returns the greatest clock of the first processor; virtual machines seldom show it."""
    kilohertz = _content(cpu_root / "cpu0" / "cpufreq" / "cpuinfo_max_freq") or ""
    return int(kilohertz) * 1000 if kilohertz.isdigit() else None


def shm_bytes(path: Path = SHM) -> int | None:
    """Returns the size of the file system in which worker processes hand over their batches."""
    try:
        usage = os.statvfs(path)
    except OSError:
        return None
    return usage.f_frsize * usage.f_blocks


def _groups(root: Path, membership: Path, controller: str) -> Iterator[Path]:
    """Yields the folders of the process's control group and of all groups above it.

    In a container the path may be one of the machine that is not mounted. So only folders that
    exist are given. The root is always given: it has the container's own limits.
    """
    for line in (_content(membership) or "").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0":
            mounts = [root, root / "unified"]
        elif controller in controllers.split(","):
            mounts = [root / controllers, root / controller]
        else:
            continue
        for mount in mounts:
            below = mount if ".." in path else mount / path.strip("/")
            for folder in (below, *below.parents):
                if folder.is_dir() and (folder == mount or mount in folder.parents):
                    yield folder


def _content(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None
