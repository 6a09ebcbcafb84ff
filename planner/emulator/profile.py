"""Writes the profile of a run as lines of key=value: an emulated card, or limits.

In: the card's record and the most that its allocations may take (see native/device.h); or the limit
of a run on real hardware (see worker/engines/real.py). Out: text for the child.
"""

from __future__ import annotations

from planner.emulator.build import EmulatedDevice
from planner.emulator.torch_install import TorchInstall
from planner.hardware.specs import EmulationProfile

# More than any step requests: runs with it do not fail and measure the need.
UNLIMITED_BYTES = 1 << 44
# Launches that a card is behind the host, where memory depends on it. The driver lets a host queue
# about 1,000 before a launch waits (forums.developer.nvidia.com/t/68937), and published peaks of
# FSDP with and without its rate limiter agree with that (python -m benchmarks.lag).
LAUNCH_LAG = 1024


def device_profile(
    card: EmulationProfile,
    *,
    torch: TorchInstall,
    device: EmulatedDevice,
    total_memory_bytes: int,
    capacity_bytes: int,
    launch_lag: int | None = LAUNCH_LAG,
) -> str:
    """Writes the profile of `card`; torch shows `total_memory_bytes` as its memory.

    The card is full when all allocations together take `capacity_bytes`. It is `launch_lag`
    launches behind the host; 0: it keeps up; None: it does nothing until the host waits.
    """
    major, minor = card.compute_capability
    bridged = torch.cudnn_answers_without_device
    values = {
        "name": f"{card.name} (emulated)",
        "major": major,
        "minor": minor,
        "multiprocessors": card.streaming_multiprocessors,
        "threads_per_sm": card.limits.threads_per_sm,
        "blocks_per_sm": card.limits.blocks_per_sm,
        "total_memory_bytes": total_memory_bytes,
        "capacity_bytes": capacity_bytes,
        "l2_bytes": card.l2_bytes,
        "shared_per_sm_bytes": card.limits.shared_memory_per_sm_bytes,
        "shared_per_block_optin_bytes": card.limits.shared_memory_per_block_optin_bytes,
        "clock_khz": card.boost_clock_hz // 1000,
        "memory_clock_khz": card.memory_clock_hz // 1000,
        "bus_bits": card.memory_bus_bits,
        "cudnn_library": torch.cudnn_library if bridged else "",
        "bridge_driver_library": device.bridge_driver if bridged else "",
        "launch_lag": "never" if launch_lag is None else launch_lag,
    }
    return "".join(f"{key}={value}\n" for key, value in values.items())


def profile_values(profile: str) -> dict[str, str]:
    """Returns the values of a profile by key."""
    return dict(line.split("=", 1) for line in profile.splitlines() if "=" in line)


def without_limit(profile: str) -> str:
    """Returns the profile with the capacity UNLIMITED_BYTES."""
    kept = [line for line in profile.splitlines() if not line.startswith("capacity_bytes=")]
    return "".join(f"{line}\n" for line in [*kept, f"capacity_bytes={UNLIMITED_BYTES}"])


def limit_profile(**limits: int | None) -> str:
    """Writes the limits of a run on real hardware, without those that are None.

    `data_limit_bytes`: RLIMIT_DATA of a run on the CPU. `kept_bytes`: memory of a physical card
    that PyTorch's allocator must leave free.
    """
    return "".join(f"{key}={value}\n" for key, value in limits.items() if value is not None)


def with_peers(profile: str) -> str:
    """Returns the profile of a rank whose peers are processes of this machine (native/peers.h)."""
    return f"{profile}nccl_peers=1\n"
