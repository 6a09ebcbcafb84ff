"""What is changed in torch before any code of the user runs on the emulated card.

In: an imported torch. Out: one card is counted, kernels of attention are noted, what would read
values outside of an operator reads them openly, generate() of transformers ends by its length, and
Triton makes no machine code. Convention:
planned runs and scripts alike.
"""

from __future__ import annotations

from planner.worker.engines import emulation, unexecuted_kernels
from planner.worker.record import attention
from planner.worker.values import generation_ends, lengths, printing


def install() -> None:
    """Installs all of it."""
    emulation.count_one_card()
    unexecuted_kernels.install()
    attention.install()
    printing.install()
    lengths.install()
    generation_ends.install()
