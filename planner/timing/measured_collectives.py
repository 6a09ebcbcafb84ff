"""Times of collectives inside one host, interpolated between measured ones.

In: measured bus bandwidths of a link. Out: seconds. Convention: between two sizes, and between two
numbers of cards, the bus bandwidth is a straight line where both axes are logarithms.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import pairwise
from math import exp, log

from planner.hardware.link_specs import BusBandwidth, Collective, LinkSpec

# A card that sends to one other and receives as much from it does the all-to-all of two cards.
_MEASURED_AS = {
    Collective.BROADCAST: Collective.ALL_GATHER,
    Collective.SEND_RECV: Collective.ALL_TO_ALL,
}


def measured_time_s(
    collective: Collective, size_bytes: int, cards: int, link: LinkSpec
) -> float | None:
    """Returns the seconds of a collective over cards of one host; None: nothing measured fits.

    A broadcast has the bus bandwidth of an all-gather, a message that of the all-to-all of two
    cards. A smaller message than the smallest measured one takes as long as that.
    """
    rows = link.measured_rows(_MEASURED_AS.get(collective, collective))
    if collective is Collective.SEND_RECV:
        rows = tuple(row for row in rows if row.cards == 2)
    if not rows or not rows[0].cards <= cards <= rows[-1].cards:
        return None
    above = next(row for row in rows if row.cards >= cards)
    below = next(row for row in reversed(rows) if row.cards <= cards)
    size = 2 * size_bytes if collective is Collective.SEND_RECV else size_bytes
    rates = [_rate(row, size, link) for row in (below, above)]
    rate = _between(cards, (below.cards, rates[0]), (above.cards, rates[1]))
    return size_bytes * collective.traffic_factor(cards) / rate


def _rate(row: BusBandwidth, size_bytes: int, link: LinkSpec) -> float:
    """Returns the bus bandwidth of a row at a size, in bytes per second."""
    sizes = [size for size, _ in row.points]
    first, last = row.points[0], row.points[-1]
    if size_bytes <= first[0]:
        return first[1] * size_bytes / first[0]
    if size_bytes >= last[0]:
        return _beyond(row, size_bytes, link)
    position = bisect_left(sizes, size_bytes)
    return _between(size_bytes, row.points[position - 1], row.points[position])


def _beyond(row: BusBandwidth, size_bytes: int, link: LinkSpec) -> float:
    """Returns the bus bandwidth above the largest size: more bytes at the rate of the last ones."""
    size, rate = row.points[-1]
    time = size / rate
    most = max(rate, large_message_rate(row.collective, row.cards, link))
    if len(row.points) > 1:
        size_before, rate_before = row.points[-2]
        time_more = time - size_before / rate_before
        most = min(most, (size - size_before) / time_more) if time_more > 0 else most
    return size_bytes / (time + (size_bytes - size) / most)


def large_message_rate(collective: Collective, cards: int, link: LinkSpec) -> float:
    """Returns the bus bandwidth that a large message reaches inside one host, bytes per second."""
    sums = collective is Collective.ALL_REDUCE and link.least_cards_in_switch is not None
    share = ring_share(link, cards)
    if sums and link.in_switch_share and cards >= (link.least_cards_in_switch or cards):
        share = max(share, link.in_switch_share)
    return share * link.wire_bytes_per_s


def ring_share(link: LinkSpec, cards: int) -> float:
    """Returns the part of the wire that a ring reaches, interpolated over the number of cards.

    Of a link between hosts, `cards` are hosts.
    """
    shares = link.ring_shares
    if cards <= shares[0][0]:
        return shares[0][1]
    for below, above in pairwise(shares):
        if cards <= above[0]:
            return _between(cards, below, above)
    return shares[-1][1]


def _between(x: float, one: tuple[float, float], other: tuple[float, float]) -> float:
    """Returns y at x on the line through two points, where both axes are logarithms."""
    if one[0] == other[0]:
        return one[1]
    part = log(x / one[0]) / log(other[0] / one[0])
    return one[1] * exp(part * log(other[1] / one[1]))
