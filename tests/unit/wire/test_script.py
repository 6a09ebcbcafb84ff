"""An order and a report of `planner run` go over without msgspec, and are what msgspec reads."""

from __future__ import annotations

import json

import msgspec
import pytest

from planner.wire.jobs import RunAnswer
from planner.wire.script import (
    ScriptEnd,
    ScriptOrder,
    ScriptReport,
    order_of,
    order_text,
    plain,
)
from planner.wire.trace import (
    AllocationEvent,
    AllocationTrace,
    EventKind,
    Origin,
    Recording,
    RunOutcome,
    StepTrace,
)
from planner.wire.value_reads import ReadLog, ReadSite, ValuesPass, ValuesRequest


class _Version(str):
    """As torch.__version__: a text of a class of its own."""


def _report() -> ScriptReport:
    trace = StepTrace(
        outcome=RunOutcome.COMPLETED,
        batch_size=8,
        peak_allocated_bytes=3,
        peak_active_bytes=3,
        peak_reserved_bytes=2 << 20,
        attention_backends=("flash",),
    )
    allocations = AllocationTrace(
        events=(AllocationEvent(kind=EventKind.ALLOC, block=0, size_bytes=3),),
        origins=(Origin(), Origin(module="net", source="train.py:3")),
    )
    return ScriptReport(
        end=ScriptEnd.STEPS_DONE,
        answer=RunAnswer(trace=trace, allocations=allocations),
        steps=3,
        torch="2.14.1",
        cuda="13.0",
        python="3.11.7",
        saved=("model.pt",),
    )


def test_a_report_is_what_msgspec_would_send_and_read() -> None:
    report = _report()
    sent = json.loads(json.dumps(plain(report)))
    assert sent == json.loads(msgspec.json.encode(report))
    assert msgspec.convert(sent, ScriptReport) == report


def test_a_text_of_another_class_is_sent_as_text() -> None:
    assert type(plain(_Version("2.14"))) is str


def test_what_cannot_be_sent_is_refused() -> None:
    with pytest.raises(TypeError, match="a object cannot be sent"):
        plain(object())


def test_an_order_comes_back() -> None:
    log = ReadLog(
        sites=(ReadSite(file="train.py", line=3, function="f"),),
        site_of=(0, 0),
        sizes_bytes=(4, 8),
        contents=("", "eJw="),
        seed=2,
    )
    order = ScriptOrder(
        libraries=("/a.so", "/b.so"),
        driver_folder="/driver",
        profile="name=x\n",
        folder="/run",
        steps=3,
        recording=Recording.EVENTS,
        values=ValuesRequest(kind=ValuesPass.ANSWERED, seed=2, log=log),
        batch_size=16,
    )
    assert order_of(order_text(order)) == order


@pytest.mark.parametrize("text", ["{}", "[]", "no", '{"values": 1, "libraries": []}'])
def test_what_is_no_order_is_refused(text: str) -> None:
    with pytest.raises((ValueError, AttributeError)):
        order_of(text)
