"""Chooses the blocks to recompute: those that save most bytes for each recomputed FLOP.

In: modules as they were counted, the bytes to save. Out: names of blocks. Convention: blocks are
modules of one class in one container; of several such groups the one that keeps most for backward.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from planner.wire.module_counts import ModuleCounts

_LEAST_BLOCKS = 2
# The input of a block stays, and a module counts storages that its neighbours keep too: so much
# more is chosen than has to be saved.
_SURPLUS = 1.25


def best_blocks(modules: Sequence[ModuleCounts], missing_bytes: int) -> tuple[str, ...]:
    """Returns the fewest blocks that may save `missing_bytes`; empty: all are needed, or none."""
    blocks = _blocks(modules)
    order = sorted(blocks, key=lambda one: -one.saved_bytes / max(1, one.forward_flops))
    chosen: list[ModuleCounts] = []
    for block in order:
        if sum(one.saved_bytes for one in chosen) >= _SURPLUS * missing_bytes:
            break
        chosen.append(block)
    if not 0 < len(chosen) < len(blocks):
        return ()
    return tuple(block.path for block in blocks if block in chosen)


def _blocks(modules: Sequence[ModuleCounts]) -> list[ModuleCounts]:
    """Returns the largest group of modules of one class in one container, by saved bytes."""
    groups: dict[tuple[str, str], list[ModuleCounts]] = defaultdict(list)
    for module in modules:
        parent, dot, name = module.path.rpartition(".")
        if (name if dot else module.path).isdecimal() and module.saved_bytes:
            groups[parent, module.kind].append(module)
    found = [group for group in groups.values() if len(group) >= _LEAST_BLOCKS]
    return max(found, key=lambda group: sum(one.saved_bytes for one in group), default=[])
