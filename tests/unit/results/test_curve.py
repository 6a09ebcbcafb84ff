"""A Curve: its knee, what is recommended, JSON and CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.errors import UsageError
from planner.results.curve import KNEE_SHARE, Curve, CurvePoint, knee, recommendation
from planner.units import GIB

Point = Callable[..., CurvePoint]


def test_knee_is_the_smallest_with_95_percent_of_the_best_that_fits(point: Point) -> None:
    assert KNEE_SHARE == 0.95
    # 32 reaches 94.9 of 100; the 200 samples/s of 512 do not count, since it does not fit.
    points = [point(16, 60.0), point(32, 94.9), point(64, 95.0), point(128, 100.0)]
    assert knee(points) == 64
    assert knee([*points, point(512, 200.0, 17)]) == 64
    assert knee(list(reversed(points))) == 64


def test_knee_of_a_throughput_that_falls_again(point: Point) -> None:
    assert knee([point(8, 100.0), point(16, 80.0)]) == 8
    assert knee([point(8, 1.0)]) == 8


def test_no_knee_where_nothing_fits(point: Point) -> None:
    assert knee([]) is None
    assert knee([point(1, 10.0, 20)]) is None


def test_without_a_global_batch_the_knee_is_recommended(curve: Curve) -> None:
    found = recommendation(curve.points, None)
    assert (found.batch_size, found.accumulate) == (64, None)
    assert found.sentence.startswith("batch 64: the smallest with 95 % of the best throughput")


@pytest.mark.parametrize(
    ("global_batch", "batch", "accumulate"),
    [
        pytest.param(64, 64, 1, id="the knee itself"),
        pytest.param(256, 64, 4, id="a multiple of the knee"),
        pytest.param(96, 48, 2, id="a batch that is no point"),
        pytest.param(10, 10, 1, id="less than the knee"),
        pytest.param(1000, 50, 20, id="an odd multiple"),
        pytest.param(127, 1, 127, id="a prime"),
    ],
)
def test_a_global_batch_is_kept_exactly(
    curve: Curve, global_batch: int, batch: int, accumulate: int
) -> None:
    found = recommendation(curve.points, global_batch)
    assert (found.batch_size, found.accumulate) == (batch, accumulate)


def test_what_is_said_of_a_global_batch(curve: Curve) -> None:
    assert recommendation(curve.points, 256).sentence == (
        "batch 64 with 4 accumulated keeps the global batch of 256; gradients then stay in memory "
        "during forward: check it with planner estimate --batch 64 --accumulate 4"
    )
    assert recommendation(curve.points, 10).sentence == (
        "batch 10 without accumulation: it is the global batch asked for"
    )
    assert recommendation(curve.points, 127).sentence.endswith(
        "; it is far below the knee, a global batch of 128 = 2 x 64 would run at the knee"
    )


def test_a_global_batch_that_cannot_be_kept_says_so(point: Point) -> None:
    points = [point(8, 50.0), point(64, 100.0)]
    found = recommendation(points, 127)
    assert (found.batch_size, found.accumulate) == (None, None)
    assert found.sentence == (
        "a global batch of 127 cannot be kept: no batch from 8, the smallest tried, to 64, the "
        "knee, divides it; a global batch of 128 = 2 x 64 would run at the knee"
    )
    below = recommendation(points, 7)
    assert below.batch_size is None
    assert "a global batch of 64 = 1 x 64" in below.sentence


def test_nothing_is_recommended_where_nothing_fits(point: Point) -> None:
    for global_batch in (None, 64):
        found = recommendation([point(1, 10.0, 20)], global_batch)
        assert (found.batch_size, found.accumulate) == (None, None)
        assert "none of these batches fits" in found.sentence


@pytest.mark.parametrize("global_batch", [0, -8])
def test_a_global_batch_below_1_is_refused(curve: Curve, global_batch: int) -> None:
    with pytest.raises(UsageError, match=rf"a global batch of {global_batch} .* give 1 or more"):
        recommendation(curve.points, global_batch)


@given(
    speeds=st.lists(st.floats(0.1, 1e5), min_size=1, max_size=8),
    global_batch=st.integers(1, 2000),
)
def test_what_is_recommended_divides_and_is_not_beyond_the_knee(
    speeds: list[float], global_batch: int
) -> None:
    points = [
        CurvePoint(
            batch_size=2**power,
            step_s=2**power / speed,
            samples_per_s=speed,
            device_total_bytes=GIB,
            fits=True,
            bound="compute",
        )
        for power, speed in enumerate(speeds)
    ]
    found, best = recommendation(points, global_batch), knee(points)
    assert best is not None
    assert found.batch_size is not None  # batch 1 divides every global batch
    assert found.accumulate is not None
    assert found.batch_size * found.accumulate == global_batch
    assert found.batch_size <= best
    assert all(global_batch % size for size in range(found.batch_size + 1, best + 1))


def test_json_form(curve: Curve) -> None:
    document = json.loads(json.dumps(curve.to_dict()))
    assert list(document) == [
        "schema_version", "target", "engine", "gpu", "gpu_name", "versions", "config",
        "weight_dtypes", "usable_memory_bytes", "largest_batch_size", "largest_batch_is_bound",
        "knee", "recommended_batch_size",
        "accumulate", "global_batch_size", "recommendation", "currency", "points", "assumptions",
        "warnings", "values", "model_arguments", "gpu_id",
    ]  # fmt: skip
    assert document["schema_version"] == 1
    assert (document["config"]["precision"], document["config"]["optimizer"]) == ("amp-fp16", "sgd")
    assert document["versions"]["planner"] == "0.1.0"
    assert document["points"][2] == {
        "batch_size": 64, "step_s": 64 / 388, "samples_per_s": 388.0,
        "device_total_bytes": 8 * GIB, "fits": True, "bound": "compute",
        "joule_per_sample": [0.5, 0.75], "cost_per_sample": [2e-6, 3e-6],
    }  # fmt: skip
    assert document["points"][4]["fits"] is False
    assert document["points"][4]["joule_per_sample"] is None


def test_csv_holds_the_same_figures(curve: Curve, point: Point) -> None:
    changed = replace(curve, points=(*curve.points, point(512, 1.0, None)))
    rows = list(csv.DictReader(io.StringIO(changed.to_csv())))
    assert [int(row["batch_size"]) for row in rows] == [1, 8, 64, 128, 256, 512]
    for row, found in zip(rows, changed.points, strict=True):
        assert float(row["step_s"]) == found.step_s
        assert float(row["samples_per_s"]) == found.samples_per_s
        assert row["fits"] == ("true" if found.fits else "false")
        assert (row["bound"], row["currency"]) == (found.bound, "USD")
    assert (rows[2]["joule_per_sample_low"], rows[2]["joule_per_sample_high"]) == ("0.5", "0.75")
    assert (rows[2]["cost_per_sample_low"], rows[2]["cost_per_sample_high"]) == ("2e-06", "3e-06")
    assert rows[5]["device_total_bytes"] == rows[0]["joule_per_sample_low"] == ""


def test_csv_without_points_is_a_heading(curve: Curve) -> None:
    text = replace(curve, points=()).to_csv()
    assert text.startswith("batch_size,step_s,samples_per_s,")
    assert text.count("\n") == 1
