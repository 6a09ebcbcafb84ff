"""What a step that keeps activations or its optimizer on the host takes there: RAM and time.

In: ModelCounts, the card's link, JobConfig. Out: bytes, OffloadTimes, sentences. Convention:
pinned copies at the rate of copies to the card, both ways; none of it overlaps the kernels.
"""

from __future__ import annotations

from planner.estimation.job import JobConfig
from planner.input_pipeline.host_budget import PcieLink, h2d_bytes_per_s, narrower
from planner.input_pipeline.host_ram import pinned_bytes
from planner.timing.bottleneck import OffloadTimes
from planner.units import format_bytes, format_significant
from planner.wire.module_counts import ModelCounts
from planner.wire.offload import Offloaded

# Eight channels of DDR4-3200: a socket of the servers that most A100 are in
# (hardware_db/cpus/epyc-7763.yaml, xeon-platinum-8358.yaml).
USUAL_MEMORY_BYTES_PER_S = 204.8e9


def offloaded_bytes(counted: ModelCounts) -> int:
    """Returns the RAM of what is kept on the host: pinned copies, and states as they are."""
    found = counted.offloaded or Offloaded()
    total = 0
    if found.activations is not None:
        total += pinned_bytes(found.activations.sizes_bytes)
    if found.optimizer is not None:
        total += pinned_bytes(found.optimizer.weight_sizes_bytes)
        total += pinned_bytes(found.optimizer.gradient_sizes_bytes)
        total += found.optimizer.state_bytes
    return total


def offload_times(
    counted: ModelCounts, link: PcieLink, request: JobConfig, grown: float = 1.0
) -> OffloadTimes:
    """Returns the seconds of copies and update; those of copies are 0 where the link is unknown.

    `grown` multiplies the copies of activations, which grow with the batch.
    """
    found = counted.offloaded
    if found is None:
        return OffloadTimes()
    rate = link_bytes_per_s(link, request)
    activations, optimizer = found.activations, found.optimizer
    copied, stepped, updated = 0, 0, 0
    if activations is not None:
        copied = activations.to_host_bytes + activations.to_card_bytes
    if optimizer is not None:
        stepped = optimizer.to_host_bytes + optimizer.to_card_bytes
        updated = optimizer.update_bytes
    return OffloadTimes(
        activations_s=0.0 if rate is None else grown * copied / rate,
        optimizer_copy_s=0.0 if rate is None else stepped / rate,
        update_s=updated / (request.memory_bytes_per_s or USUAL_MEMORY_BYTES_PER_S),
    )


def link_bytes_per_s(link: PcieLink, request: JobConfig) -> float | None:
    """Returns the rate of copies of pinned memory, in the host's slot if it is known."""
    host = request.host
    if host is not None:
        slot = PcieLink(generation=host.pcie_generation, lanes=host.pcie_lanes)
        link = narrower(link, slot)
    return h2d_bytes_per_s(link, pinned=True)


def offload_words(counted: ModelCounts, link: PcieLink, request: JobConfig) -> tuple[str, ...]:
    """Returns sentences on what is kept on the host; none where nothing is."""
    found = counted.offloaded
    if found is None:
        return ()
    words = [f"offload: {format_bytes(offloaded_bytes(counted))} of host RAM, {_parts(found)}"]
    rate = link_bytes_per_s(link, request)
    if rate is None:
        words.append("offload: the card's link is not known, so the step time lacks its copies")
    else:
        words.append(
            f"offload: copies at {format_significant(rate / 1e9)} GB/s both ways, on the stream of "
            "the kernels: they do not overlap"
        )
    if found.optimizer is not None:
        own = request.memory_bytes_per_s
        basis = "a planning figure, no bandwidth is known" if own is None else "by its record"
        words.append(
            f"offload: the update moves {format_bytes(found.optimizer.update_bytes)} in host "
            f"memory, at {format_significant((own or USUAL_MEMORY_BYTES_PER_S) / 1e9)} GB/s "
            f"({basis}): at least that time; temporaries of a weight's update are not in the RAM"
        )
    return tuple(words)


def _parts(found: Offloaded) -> str:
    """Returns the parts of the RAM, and the rounding of pinned memory."""
    words = []
    if found.activations is not None:
        size = format_bytes(sum(found.activations.sizes_bytes))
        words.append(f"{size} of activations")
    if found.optimizer is not None:
        for name, size_bytes in (
            ("weights", found.optimizer.to_card_bytes),
            ("gradients", found.optimizer.to_host_bytes),
            ("states", found.optimizer.state_bytes),
        ):
            words.append(f"{format_bytes(size_bytes)} of {name}")
    return f"for {', '.join(words)}; PyTorch pins powers of two"
