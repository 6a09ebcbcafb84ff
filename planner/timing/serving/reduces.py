"""Times the all-reduce of a layer that several cards share, by the engine's own kernels or NCCL.

In: bytes, ranks, a card, the links. Out: seconds. Convention: engines have kernels of their own for
short messages between cards on NVLink; the faster of both is taken.
"""

from __future__ import annotations

from planner.hardware.database import LinkDatabase
from planner.hardware.link_specs import Collective
from planner.hardware.specs import GpuSpec
from planner.timing.collectives import collective_time
from planner.timing.topology import RankGroup, Topology, topology_of_card

# Begin and end, and bytes per second, by ranks: vLLM 0.24.0 and 0.14.0 in CUDA graphs, lines
# through 256 bytes and 2 MiB in bfloat16 (aiconfigurator-core 0.12.0, custom_allreduce_perf, whose
# sizes are elements). By the major compute capability of cards on NVLink through a switch.
_OWN: dict[int, dict[int, tuple[float, float]]] = {
    8: {2: (4.9e-6, 204e9), 4: (5.2e-6, 101e9), 8: (5.7e-6, 94e9)},
    9: {2: (4.3e-6, 258e9), 4: (4.6e-6, 149e9), 8: (4.7e-6, 142e9)},
    10: {2: (6.6e-6, 112e9), 4: (6.9e-6, 123e9), 8: (7.4e-6, 157e9)},
}
# Of cards on PCIe: begin and end alone (L40S by 0.22.0, RTX PRO 6000 by 0.24.0); bytes are NCCL's.
_OF_BUS_S = {2: 5e-6, 4: 13e-6, 8: 25e-6}
_MOST_BYTES = 8 << 20  # vllm/distributed/device_communicators/custom_all_reduce.py
_SWITCHED_BYTES_PER_S = 300e9


def joined(card: GpuSpec, links: LinkDatabase, ranks: int) -> Topology | None:
    """Returns how `ranks` cards of a host are joined; None: there is one.

    Raises:
        UnknownLinkError: no usual link of the card is known.
    """
    return None if ranks == 1 else topology_of_card(card, links, cards_per_host=ranks)


def reduce_s(size_bytes: float, ranks: int, card: GpuSpec, topology: Topology | None) -> float:
    """Returns the seconds of one all-reduce over the ranks of a layer."""
    if topology is None or ranks == 1:
        return 0.0
    size = max(1, round(size_bytes))
    group = RankGroup(cards_by_host=(ranks,))
    found = collective_time(Collective.ALL_REDUCE, size, group, topology)
    place = min((one for one in _OF_BUS_S if one >= ranks), default=8)
    own = _OWN.get((card.compute_capability or (0, 0))[0])
    if own is not None and card.nvlink_bytes_per_s >= _SWITCHED_BYTES_PER_S:
        begin_s, rate = own[place]
        return min(found.time_s, begin_s + size / rate) if size <= _MOST_BYTES else found.time_s
    if found.latency_s is None or size > _MOST_BYTES:
        return found.time_s
    return min(found.time_s, _OF_BUS_S[place] + found.time_s - found.latency_s)
