"""Keys of JSON documents: a number that is not a count or a share has its unit in its key."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from planner.catalog.catalog import all_models
from planner.hardware.database import load_cpus, load_gpus, load_hosts
from planner.memory.probe import ProbeOutcome
from planner.results.comparison import CardComparison, ComparedCard, RankBy
from planner.results.curve import Curve, CurvePoint
from planner.results.estimate import Estimate
from planner.results.verification import Figures, ProbeRecord

# The last words of a key, or "per" and what it is counted by.
_UNITS = re.compile(
    r"(^|_)(bytes|s|w|hz|bits|flops|flops_per_s|flops_per_byte|samples_per_s|bytes_per_s|"
    r"items_per_s|transfers_per_s|seconds|hours|kwh|per_sample|per_hour|size|length)$"
)
# Numbers without a unit: counts, shares, relative figures, and money, whose unit is `currency`.
_WITHOUT = frozenset(
    re.findall(
        r"\w+",
        """
    schema_version parameters trainable_parameters buffers elements activations peak_step
    accumulate steps chunked_loss clip_grad_norm ema seeds count line possible smallest
    largest size_given
    interval_coverage takes_over_factor factor workers cores cores_needed samples money
    knee epoch_samples max_batch_of_all_ranks tolerance error
    streaming_multiprocessors cuda_cores tensor_cores pcie_generation pcie_lanes
    performance_cores efficiency_cores threads memory_channels core_speed vcpus physical_cores
    low high amount usd_to_buy threads_per_sm blocks_per_sm
    """,
    )
)
# Older keys of numbers with a unit, each beside a newer one that names it.
_DEPRECATED = {"interval": "interval_s"}


def numbers(value: Any, key: str = "") -> Iterator[str]:
    """The key of each number; that of a list is the list's, of a table by names the table's."""
    if isinstance(value, dict):
        for name, inner in value.items():
            named = key if key.endswith(("_bytes", "_s", "shares", "uncounted_operators")) else name
            yield from numbers(inner, named)
    elif isinstance(value, list):
        for inner in value:
            yield from numbers(inner, key)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield key


def without_unit(document: dict[str, Any]) -> set[str]:
    named = {*_WITHOUT, *_DEPRECATED, "shares", "uncounted_operators", "optimizer_arguments"}
    return {key for key in numbers(document) if key not in named and not _UNITS.search(key)}


def test_numbers_of_an_estimate(estimate: Estimate) -> None:
    document = estimate.to_dict()
    assert without_unit(document) == set()
    assert without_unit({**document, "step_time": 0.1, "peak": {"memory": 3}}) == {
        "step_time", "memory",
    }  # fmt: skip


def test_what_is_deprecated_has_a_newer_key(estimate: Estimate) -> None:
    time = estimate.to_dict()["gpus"][0]["time"]
    for old, new in _DEPRECATED.items():
        assert time[old] == time[new]


def test_numbers_of_a_curve_and_a_comparison(estimate: Estimate) -> None:
    point = CurvePoint(
        batch_size=8, step_s=0.1, samples_per_s=80.0, device_total_bytes=1, fits=True,
        bound="compute", joule_per_sample=(1.0, 2.0), cost_per_sample=(0.1, 0.2),
    )  # fmt: skip
    curve = Curve(
        target="net.py", gpu="t4", gpu_name="Tesla T4", points=(point,), largest_batch_size=9,
        knee=8, recommended_batch_size=8, accumulate=2, global_batch_size=16,
        usable_memory_bytes=1, currency="USD", config=estimate.config, versions=estimate.versions,
    )  # fmt: skip
    card = ComparedCard(
        requested="t4", name="Tesla T4", usable_memory_bytes=1, fits=True, max_batch_size=9,
        batch_size=8, step_s=0.1, samples_per_s=80.0, bound="compute", epoch_hours=1.0,
        kwh=(1.0, 2.0), money=(1.0, 2.0), currency="USD",
    )  # fmt: skip
    comparison = CardComparison(
        target="net.py", by=RankBy.TIME, cards=(card,), left_out=(), epoch_samples=9,
        config=estimate.config, versions=estimate.versions,
    )  # fmt: skip
    assert without_unit(curve.to_dict()) == without_unit(comparison.to_dict()) == set()


def test_numbers_of_a_probe_and_of_figures() -> None:
    probe = ProbeRecord(batch_size=8, outcome=ProbeOutcome.FITS, seconds=1.0)
    fields = (*Figures.__slots__, *probe.__slots__)
    assert without_unit(dict.fromkeys(fields, 1)) <= {"outcome", "detail"}


def test_numbers_of_the_catalog() -> None:
    for model in all_models():
        assert without_unit({**model.to_dict(), "config": {}}) == set(), model.name


@pytest.mark.parametrize("load", [load_gpus, load_cpus, load_hosts])
def test_numbers_of_the_hardware_database(load: Any) -> None:
    for record in load().all():
        assert without_unit({**record.to_dict(), "sources": {}}) == set(), record.id
