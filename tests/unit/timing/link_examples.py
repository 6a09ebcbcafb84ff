"""Invented links with round figures, for arithmetic by hand."""

from __future__ import annotations

from dataclasses import replace

from planner.hardware.link_specs import (
    BusBandwidth,
    Channels,
    Collective,
    HopLatency,
    LinkKind,
    LinkSpec,
)
from planner.hardware.specs import Confidence

_US = 1e-6
INTRA = LinkSpec(
    id="switch",
    name="a switch",
    aliases=(),
    kind=LinkKind.NVSWITCH,
    wire_bytes_per_s=100e9,
    most_cards=8,
    default_for=(),
    ring_shares=((2, 0.5), (8, 0.8)),
    in_switch_share=None,
    least_cards_in_switch=None,
    ring_hop=HopLatency(ll_s=1 * _US, ll128_s=2 * _US, simple_s=4 * _US),
    tree_hop=HopLatency(ll_s=1 * _US, ll128_s=2 * _US, simple_s=4 * _US),
    channels=Channels(collective=10, point_to_point=8, in_switch=4),
    measured=(),
    sources=(("measured", "our own lab"),),
    confidence=Confidence.HIGH,
    note=None,
)
NETWORK = replace(
    INTRA,
    id="net",
    name="a network",
    kind=LinkKind.INFINIBAND,
    wire_bytes_per_s=10e9,
    most_cards=None,
    ring_shares=((2, 0.5),),
    ring_hop=HopLatency(ll_s=3 * _US, ll128_s=5 * _US, simple_s=10 * _US),
    tree_hop=HopLatency(ll_s=6 * _US, ll128_s=8 * _US, simple_s=12 * _US),
    channels=None,
)


def measured(collective: Collective, cards: int, *points: tuple[int, float]) -> BusBandwidth:
    """A row of measured bus bandwidths: (bytes, bytes per second)."""
    return BusBandwidth(collective=collective, cards=cards, points=points)
