"""What a step that keeps activations, its optimizer or shards on the host takes there: RAM, time.

In: ModelCounts, the card's link, JobConfig, StepConfig. Out: bytes, OffloadTimes, sentences.
Convention: pinned copies at the rate of copies to the card, both ways. Those of activations and of
the optimizer do not overlap the kernels, those of FSDP's shards do. Bytes are those of one rank;
the ranks of a machine share the bandwidth of its memory. Models of a pipeline are in pageable
memory, as accelerate keeps them.
"""

from __future__ import annotations

from planner.config.step import StepConfig
from planner.estimation.job import JobConfig
from planner.input_pipeline.host_budget import (
    PAGEABLE_FRACTION,
    PcieLink,
    h2d_bytes_per_s,
    narrower,
)
from planner.input_pipeline.host_ram import pinned_bytes
from planner.timing.bottleneck import OffloadTimes, ShardCopies
from planner.units import format_bytes, format_significant
from planner.wire.module_counts import ModelCounts
from planner.wire.offload import Offloaded, OffloadedShards, OffloadedWeights
from planner.wire.trace import Phase

# Eight channels of DDR4-3200: a socket of the servers that most A100 are in
# (hardware_db/cpus/epyc-7763.yaml, xeon-platinum-8358.yaml).
USUAL_MEMORY_BYTES_PER_S = 204.8e9
_SOCKETS_OF_SEVERAL = 2  # of machines with several such cards: DGX A100, DGX H100
# A gradient on the host and the next one are read, and their sum is written.
_ADDED_BYTES_OF_A_BYTE = 3


def offloaded_bytes(counted: ModelCounts) -> int:
    """Returns the RAM of what a rank keeps on the host: pinned copies, and states as they are."""
    found = counted.offloaded or Offloaded()
    total = 0
    if found.activations is not None:
        total += pinned_bytes(found.activations.sizes_bytes)
    if found.optimizer is not None:
        total += pinned_bytes(found.optimizer.weight_sizes_bytes)
        total += pinned_bytes(found.optimizer.gradient_sizes_bytes)
        total += found.optimizer.state_bytes
    if found.shards is not None:
        sizes = (*found.shards.parameter_sizes_bytes, *found.shards.gradient_sizes_bytes)
        total += pinned_bytes(sizes) if found.shards.pinned else sum(sizes)
        total += found.shards.state_bytes
    if found.weights is not None:
        total += found.weights.resident_bytes
    return total


def offload_times(
    counted: ModelCounts,
    link: PcieLink,
    request: JobConfig,
    config: StepConfig,
    grown: float = 1.0,
) -> OffloadTimes:
    """Returns the seconds of copies and update; those of copies are 0 where the link is unknown.

    `grown` multiplies the copies of activations, which grow with the batch.
    """
    found = counted.offloaded
    if found is None:
        return OffloadTimes()
    rate = link_bytes_per_s(link, request)
    if found.shards is not None:
        return _of_shards(found.shards, rate, memory_bytes_per_s(request, config), config)
    if found.weights is not None:
        moved = found.weights.to_card_bytes + found.weights.to_host_bytes
        return OffloadTimes(
            optimizer_copy_s=0.0 if rate is None else moved / (rate * PAGEABLE_FRACTION)
        )
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
        update_s=updated / memory_bytes_per_s(request, config),
    )


def _of_shards(
    shards: OffloadedShards, link_rate: float | None, memory_rate: float, config: StepConfig
) -> OffloadTimes:
    """Returns the seconds of FSDP's copies and of the update on the host.

    Copies both ways at once are those of the slower way, or as fast as the memory. A gradient that
    is added to an earlier one is waited for, in pageable memory (foreach_reduce in
    torch/distributed/fsdp/_fully_shard/_fsdp_collectives.py).
    """
    more = config.accumulate - 1
    added_bytes = more * _ADDED_BYTES_OF_A_BYTE * shards.to_host_bytes
    update_s = (shards.update_bytes + added_bytes) / memory_rate
    if link_rate is None:
        return OffloadTimes(update_s=update_s)
    pageable_rate = min(link_rate * PAGEABLE_FRACTION, memory_rate)
    rate = min(link_rate, memory_rate) if shards.pinned else pageable_rate
    up, down = shards.to_card_backward_bytes, shards.to_host_bytes
    backward_s = (up + down) / rate
    if shards.pinned:
        backward_s = max(up / rate, down / rate, (up + down) / memory_rate)
    return OffloadTimes(
        optimizer_copy_s=more * down / pageable_rate,
        update_s=update_s,
        shards=ShardCopies(
            phases_s=(
                (Phase.FORWARD, shards.to_card_forward_bytes / rate),
                (Phase.BACKWARD, backward_s),
            ),
            unit_s=shards.largest_unit_bytes / rate,
            overlap=shards.pinned,
        ),
    )


def memory_bytes_per_s(request: JobConfig, config: StepConfig) -> float:
    """Returns the bandwidth of the host's memory that one rank has."""
    parallel = config.parallel
    ranks = 1 if parallel is None else parallel.gpus_of_a_host
    usual = USUAL_MEMORY_BYTES_PER_S * (1 if ranks == 1 else _SOCKETS_OF_SEVERAL)
    return (request.memory_bytes_per_s or usual) / ranks


def link_bytes_per_s(link: PcieLink, request: JobConfig) -> float | None:
    """Returns the rate of copies of pinned memory, in the host's slot if it is known."""
    host = request.host
    if host is not None:
        slot = PcieLink(generation=host.pcie_generation, lanes=host.pcie_lanes)
        link = narrower(link, slot)
    return h2d_bytes_per_s(link, pinned=True)


def offload_words(
    counted: ModelCounts, link: PcieLink, request: JobConfig, config: StepConfig
) -> tuple[str, ...]:
    """Returns sentences on what is kept on the host; none where nothing is."""
    found = counted.offloaded
    if found is None:
        return ()
    rank = " of each rank" if config.parallel is not None else ""
    words = [
        f"offload: {format_bytes(offloaded_bytes(counted))} of host RAM{rank}, {_parts(found)}"
    ]
    rate = link_bytes_per_s(link, request)
    if rate is None:
        words.append("offload: the card's link is not known, so the step time lacks its copies")
    elif found.weights is not None:
        words.append(_copies_of_weights(found.weights, rate))
    elif found.shards is not None:
        words.append(_copies_of_shards(found.shards, rate, memory_bytes_per_s(request, config)))
    else:
        words.append(
            f"offload: copies at {format_significant(rate / 1e9)} GB/s both ways, on the stream of "
            "the kernels: they do not overlap"
        )
    if found.optimizer is not None:
        words.append(_update(found.optimizer.update_bytes, request, config))
    if found.shards is not None:
        words.append(_update(found.shards.update_bytes, request, config))
        words.append(
            "offload: a rank is taken to use its share of the cores for the update; torchrun gives "
            "it one thread, unless OMP_NUM_THREADS says more"
        )
        if config.clip_grad_norm is not None:
            words.append(
                "offload: clipping sums over ranks in host memory, which needs gloo: "
                'init_process_group("cuda:nccl,cpu:gloo")'
            )
    return tuple(words)


def _copies_of_weights(weights: OffloadedWeights, rate: float) -> str:
    return (
        f"offload: {format_bytes(weights.to_card_bytes)} to the card and "
        f"{format_bytes(weights.to_host_bytes)} back in a generation, at "
        f"{format_significant(rate * PAGEABLE_FRACTION / 1e9)} GB/s: copies from pageable memory, "
        "which the kernels wait for"
    )


def _copies_of_shards(shards: OffloadedShards, link_rate: float, memory_rate: float) -> str:
    if not shards.pinned:
        rate = min(link_rate * PAGEABLE_FRACTION, memory_rate)
        return (
            f"offload: copies at {format_significant(rate / 1e9)} GB/s, of pageable memory: the "
            "host waits for each, and no kernel runs beside"
        )
    rate = min(link_rate, memory_rate)
    return (
        f"offload: copies at {format_significant(rate / 1e9)} GB/s each way, before a unit is "
        "gathered and after its gradients are reduced, beside the kernels of other units"
    )


def _update(update_bytes: int, request: JobConfig, config: StepConfig) -> str:
    basis = "by its record"
    if request.memory_bytes_per_s is None:
        basis = "a planning figure, no bandwidth is known"
    if config.parallel is not None and config.parallel.gpus_of_a_host > 1:
        basis = f"the share of one of {config.parallel.gpus_of_a_host} ranks; {basis}"
    rate = memory_bytes_per_s(request, config)
    return (
        f"offload: the update moves {format_bytes(update_bytes)} in host memory, at "
        f"{format_significant(rate / 1e9)} GB/s ({basis}): at least that time; temporaries of a "
        "weight's update are not in the RAM"
    )


def _parts(found: Offloaded) -> str:
    """Returns the parts of the RAM, and the rounding of pinned memory."""
    words, pinned = [], True
    if found.activations is not None:
        size = format_bytes(sum(found.activations.sizes_bytes))
        words.append(f"{size} of activations")
    sizes: tuple[tuple[str, int], ...] = ()
    if found.optimizer is not None:
        sizes = (
            ("weights", found.optimizer.to_card_bytes),
            ("gradients", found.optimizer.to_host_bytes),
            ("states", found.optimizer.state_bytes),
        )
    elif found.shards is not None:
        pinned = found.shards.pinned
        sizes = (
            ("parameters", found.shards.parameters_bytes),
            ("gradients", found.shards.to_host_bytes),
            ("states", found.shards.state_bytes),
        )
    elif found.weights is not None:
        pinned, sizes = False, (("weights", found.weights.resident_bytes),)
    words += [f"{format_bytes(size_bytes)} of {name}" for name, size_bytes in sizes]
    rounding = "; PyTorch pins powers of two" if pinned else ""
    return f"for {', '.join(words)}{rounding}"
