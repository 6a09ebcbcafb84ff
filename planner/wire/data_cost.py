"""The cost of one item of the user's data set, as timed in the child and sent as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class DataCost:
    """Seconds and bytes of one item, from `items` timed items, on the machine that timed them.

    CPU seconds are those of the thread that requests an item; wall seconds beyond them are waits
    for storage, or work of other threads. `item_bytes` counts the item's tensors and arrays;
    `collate_s` is the CPU time of default_collate for each item. Both are None if default_collate
    does not accept the item.
    """

    items: int
    cpu_mean_s: float
    cpu_median_s: float
    wall_mean_s: float
    wall_median_s: float
    item_bytes: int | None
    collate_s: float | None

    def to_dict(self) -> dict[str, Any]:
        """Returns the JSON object `data_cost`."""
        return {
            "items": self.items,
            "cpu_mean_s": self.cpu_mean_s,
            "cpu_median_s": self.cpu_median_s,
            "wall_mean_s": self.wall_mean_s,
            "wall_median_s": self.wall_median_s,
            "item_bytes": self.item_bytes,
            "collate_s": self.collate_s,
        }
