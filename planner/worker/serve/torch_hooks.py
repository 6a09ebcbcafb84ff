"""What is changed in torch before any code of the user runs on the emulated card.

In: an imported torch. Out: one card is counted, kernels of attention are noted, and what would read
values outside of an operator reads them openly. Convention: planned runs and scripts alike.
"""

from __future__ import annotations

from planner.worker.engines import emulation
from planner.worker.record import attention
from planner.worker.values import lengths, printing


def install() -> None:
    """Installs all of it."""
    emulation.count_one_card()
    attention.install()
    printing.install()
    lengths.install()
