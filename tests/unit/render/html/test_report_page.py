"""The data of a page equals the result to the byte, and the page is closed to what is outside."""

from __future__ import annotations

import json
import re
import zlib
from array import array
from base64 import b64decode
from collections.abc import Callable
from dataclasses import replace
from itertools import accumulate
from typing import Any

import pytest

from planner.errors import UsageError
from planner.memory.timeline import recorded_timeline
from planner.render.html.columns import Columns, OriginNumbers
from planner.render.html.page import page_of
from planner.render.html.redaction import PLACE, redacted, target_name
from planner.results.estimate import Estimate
from planner.results.result import Result
from planner.wire.trace import (
    AllocationEvent,
    AllocationTrace,
    EventKind,
    Origin,
    Phase,
    TensorCategory,
)
from tests.unit.cli.test_advise import made_advice
from tests.unit.cli.test_curve_and_compare import made_comparison, made_curve
from tests.unit.cli.test_parallelize import made_parallelization

IMG = "<img src=x onerror=alert(1)>"


def trace() -> AllocationTrace:
    """A: 1024 bytes, B: 3072 bytes, A freed, C: 512 bytes; the peak is 4096."""

    def event(kind: EventKind, block: int, size: int, origin: int = 0) -> AllocationEvent:
        return AllocationEvent(
            kind=kind, block=block, size_bytes=size, block_bytes=size, step=1,
            phase=Phase.FORWARD, category=TensorCategory.SAVED_ACTIVATION, origin=origin,
        )  # fmt: skip

    return AllocationTrace(
        events=(
            event(EventKind.ALLOC, 1, 1024, 1),
            event(EventKind.ALLOC, 2, 3072),
            event(EventKind.FREE, 1, 1024),
            event(EventKind.ALLOC, 3, 512),
        ),
        origins=(Origin(), Origin(module=IMG, source="/home/me/net.py:3")),
    )


def column(columns: Columns, key: str) -> list[int]:
    return list(array("i", zlib.decompress(b64decode(columns.blobs[key]))))


def recorded(estimate: Estimate) -> Estimate:
    entry = replace(estimate.gpus[0], peak_allocated_bytes=4096)
    return replace(estimate, target=IMG, gpus=(entry,), allocations=(trace(),))


def data_of(page: str) -> dict[str, Any]:
    (text,) = re.findall(r'id="planner-data">(.*?)</script>', page, re.DOTALL)
    return dict(json.loads(text))


def test_columns_hold_every_level_to_the_byte() -> None:
    columns = Columns()
    found = columns.timeline(recorded_timeline(trace()), OriginNumbers())
    unit = found["unit_bytes"]
    owners = [i - step for i, step in enumerate(column(columns, found["owners"]))]
    changes: list[int] = []
    for index, rest in enumerate(column(columns, found["changes"])):
        changes.append(rest * unit - (0 if owners[index] == index else changes[owners[index]]))
    assert unit == 512
    assert owners == [0, 1, 0, 3]
    assert list(accumulate(changes)) == [1024, 4096, 3072, 3584]


def test_equal_columns_are_in_the_page_once() -> None:
    columns = Columns()
    assert columns.add([1, 2, 3]) == columns.add([1, 2, 3])
    assert len(columns.blobs) == 1


def test_a_number_beyond_32_bits_is_refused() -> None:
    with pytest.raises(OverflowError):
        Columns().add([1 << 31])


def test_names_stay_text(estimate: Estimate) -> None:
    page = page_of(recorded(estimate))
    assert IMG not in page
    assert "<img" not in page
    assert "&lt;img src=x onerror=alert(1)&gt;" in page
    assert data_of(page)["results"][0]["origins"]["module"][0] == IMG


def test_a_page_admits_its_own_scripts_alone(estimate: Estimate) -> None:
    page = page_of(estimate)
    (policy,) = re.findall(r'Content-Security-Policy" content="(.*?)"', page)
    assert "default-src &#39;none&#39;" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert len(re.findall("sha256-", policy)) == page.count("<script>") + 1
    assert not re.search(r'<[^>]+ style="', page.partition("<script>")[0])


def test_a_redacted_page_names_no_path(estimate: Estimate) -> None:
    shown = replace(
        recorded(estimate), target="/home/me/net.py:Net", warnings=("see /home/me/net.py:3",)
    )
    whole, without = page_of(shown), page_of(shown, is_redacted=True)
    assert "/home/me" in whole
    for text in ("/home/me", "net.py"):
        assert text not in without
    assert "<h1>Net</h1>" in without


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("see models/net.py:12", f"see {PLACE}"),
        ("/data/x/y.bin is read", f"{PLACE} is read"),
        ("12 samples/s at 3 USD/h", "12 samples/s at 3 USD/h"),
        ("layer1.0.conv1", "layer1.0.conv1"),
    ],
)
def test_what_looks_like_a_path_is_left_out(text: str, expected: str) -> None:
    assert redacted({"a": [text]}, "m.py") == {"a": [expected]}


def test_name_of_a_target_without_its_file() -> None:
    assert target_name("models/llama.py:llama_1b") == "llama_1b"
    assert target_name("models/resnet50.py") == "model"


def test_two_results_are_side_by_side(estimate: Estimate) -> None:
    page = page_of(estimate, other=replace(estimate, target="other"))
    assert page.count('class="result" data-result="') == 2
    assert "<h2>Differences</h2>" in page


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (made_curve, "All points"), (made_comparison, "All cards, the best first"),
        (made_advice, "All that was tried, the best first"),
        (made_parallelization, "All spreads, the best first"),
    ],
)  # fmt: skip
def test_each_kind_of_result_has_its_panel(made: Callable[[], Result], text: str) -> None:
    assert f"<h2>{text}</h2>" in page_of(made())
    with pytest.raises(UsageError, match="--batches is for the result of planner estimate"):
        page_of(made(), batches=[2])


def test_batches_need_recorded_requests(estimate: Estimate) -> None:
    with pytest.raises(UsageError, match="--batches needs recorded allocations"):
        page_of(estimate, batches=[999])
