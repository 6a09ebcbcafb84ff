"""What ends a search where memory does not."""

from __future__ import annotations

import pytest

from planner.memory.search import BOUND
from planner.units import GIB
from planner.verification.limits import search_bound

NOTHING = {
    "max_batch": None,
    "predicted": 10,
    "largest_tensor_bytes_per_sample": 0.0,
    "batch_bytes_per_sample": 0.0,
    "host_bytes": None,
}


@pytest.mark.parametrize(
    ("given", "batch_size", "reason"),
    [
        ({}, BOUND, "no batch beyond"),
        ({"max_batch": 64}, 64, "--max-batch 64"),
        # 1 MiB a sample are at most 2^19 elements of 2 bytes: 4096 samples have 2^31
        ({"largest_tensor_bytes_per_sample": 2.0**20}, 4096, "2^31 elements"),
        # what was predicted to fit is tried all the same, and the next one
        ({"largest_tensor_bytes_per_sample": 2.0**20, "predicted": 5000}, 5001, "2^31"),
        # two copies of 1 MiB in 1 GiB
        ({"batch_bytes_per_sample": 2.0**20, "host_bytes": GIB}, 512, "host's RAM"),
        ({"batch_bytes_per_sample": 2.0**31, "host_bytes": GIB}, 1, "host's RAM"),
        ({"batch_bytes_per_sample": 2.0**20}, BOUND, "no batch beyond"),
        ({"max_batch": 9, "batch_bytes_per_sample": 2.0**20, "host_bytes": GIB}, 9, "--max-batch"),
    ],
)
def test_the_least_bound_counts(given: dict[str, float], batch_size: int, reason: str) -> None:
    bound = search_bound(**{**NOTHING, **given})  # type: ignore[arg-type] # of the table
    assert bound.batch_size == batch_size
    assert reason in bound.reason
