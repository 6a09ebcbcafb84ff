"""The way from host memory to the card: bytes a second by PCIe generation and lanes.

In: slot of the host, link of the card. Out: bytes per second. Convention: copies from pinned
memory, the rate that copies of megabytes reach, not the raw rate of the link.
"""

from __future__ import annotations

from dataclasses import dataclass

# Host to device with 16 lanes. Measured: 3 (V100, and an A100 in such a slot), 4 (A100 SXM4), by
# bandwidthTest of the CUDA samples. The others: 0.79 or, from 5 on, 0.83 of the raw rate
# (https://pcisig.com/specifications), as 3 and 4 reach.
_H2D_X16_BYTES_PER_S = {1: 3.2e9, 2: 6.3e9, 3: 12.4e9, 4: 26.1e9, 5: 52e9, 6: 100e9}
_LANES = 16
# A copy from pageable memory goes through a pinned buffer of the driver: a planning figure.
PAGEABLE_FRACTION = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class PcieLink:
    """Generation and lanes of a card or of a slot; None is unknown."""

    generation: int | None
    lanes: int | None


def narrower(card: PcieLink, slot: PcieLink) -> PcieLink:
    """What both can do; what one of the two does not say, the other decides."""
    return PcieLink(
        generation=_least(card.generation, slot.generation), lanes=_least(card.lanes, slot.lanes)
    )


def _least(one: int | None, other: int | None) -> int | None:
    known = [value for value in (one, other) if value is not None]
    return min(known, default=None)


def h2d_bytes_per_s(link: PcieLink, *, pinned: bool) -> float | None:
    """The rate of a copy to the card; None where nothing is known of the link.

    A generation after those in the table counts as the last one in it.
    """
    if link.generation is None or link.lanes is None:
        return None
    generation = min(link.generation, max(_H2D_X16_BYTES_PER_S))
    rate = _H2D_X16_BYTES_PER_S[generation] * link.lanes / _LANES
    return rate if pinned else rate * PAGEABLE_FRACTION
