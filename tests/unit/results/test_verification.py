"""Predicted against measured: errors by hand, complaints, JSON, the table."""

from __future__ import annotations

import json

import pytest
from rich.console import Console

from planner.config.step import StepConfig
from planner.memory.probe import ProbeOutcome
from planner.render.terminal.verification import render
from planner.results.estimate import Versions
from planner.results.verification import (
    DeviceKind,
    Figures,
    ProbeRecord,
    Verification,
    VerifiedDevice,
    relative_error,
)
from planner.units import GIB, MIB


def verification(
    predicted: dict[str, float], measured: dict[str, float], **rest: object
) -> Verification:
    given: dict[str, object] = {
        "target": "net.py",
        "config": StepConfig(batch_size=8),
        "optimizer": "SGD",
        "device": VerifiedDevice(name="Card", kind=DeviceKind.PHYSICAL, memory_bytes=8 * GIB),
        "predicted": Figures(**predicted),  # type: ignore[arg-type] # of the tests below
        "measured": Figures(**measured),  # type: ignore[arg-type]
        "probes": (
            ProbeRecord(
                batch_size=100,
                outcome=ProbeOutcome.FITS,
                seconds=1.5,
                peak_device_bytes=7 * GIB,
                step_s=0.012,
            ),
            ProbeRecord(
                batch_size=101, outcome=ProbeOutcome.OOM, seconds=0.5, detail="OutOfMemoryError: x"
            ),
        ),
        "versions": Versions(torch="2.14.1", cuda="13.0", cudnn=None, python="3.11", planner="0"),
        "tolerance": 0.03,
        **rest,
    }
    return Verification(**given)  # type: ignore[arg-type]


def test_signed_relative_error_by_hand() -> None:
    assert relative_error(103, 100) == pytest.approx(0.03)
    assert relative_error(97, 100) == pytest.approx(-0.03)
    assert relative_error(None, 100) is None
    assert relative_error(100, None) is None
    assert relative_error(1, 0) is None


@pytest.mark.parametrize(
    ("predicted", "measured", "complaint"),
    [
        ({"max_batch_size": 100}, {"max_batch_size": 100}, ""),
        ({"max_batch_size": 99}, {"max_batch_size": 100}, ""),
        ({"max_batch_size": 101}, {"max_batch_size": 100}, "lies above the measured 100"),
        ({"max_batch_size": 1}, {"max_batch_size": 0}, "lies above the measured 0"),
        ({"device_total_bytes": 1029}, {"device_total_bytes": 1000}, ""),
        ({"device_total_bytes": 1031}, {"device_total_bytes": 1000}, "off by +3.1%"),
        ({"device_total_bytes": 969}, {"device_total_bytes": 1000}, "off by -3.1%"),
        ({}, {"max_batch_size": 100}, "nothing is predicted"),
    ],
)
def test_what_is_outside_tolerance_is_said(
    predicted: dict[str, float], measured: dict[str, float], complaint: str
) -> None:
    found = verification(predicted, measured)
    assert found.is_confirmed == (not complaint)
    assert complaint in "".join(found.complaints)


def test_a_bound_that_ended_the_search_is_no_complaint() -> None:
    found = verification({"max_batch_size": 100}, {"max_batch_size": 4}, bound="--max-batch 4")
    assert found.is_confirmed
    assert found.errors()["max_batch_size"] is None


def test_on_the_cpu_pages_that_are_never_written_are_no_complaint() -> None:
    cpu = VerifiedDevice(name="CPU", kind=DeviceKind.CPU, memory_bytes=GIB)
    more = {"device_total_bytes": 1120}, {"device_total_bytes": 1000}
    less = {"device_total_bytes": 960}, {"device_total_bytes": 1000}
    assert verification(*more, device=cpu).is_confirmed
    assert not verification(*less, device=cpu).is_confirmed
    assert not verification(*more).is_confirmed


def test_a_search_that_stopped_confirms_nothing() -> None:
    found = verification({"max_batch_size": 9}, {}, stopped="batch 10: killed, by SIGKILL")
    assert found.complaints == ("the search has no answer: batch 10: killed, by SIGKILL",)


def test_the_json_document() -> None:
    found = verification(
        {"max_batch_size": 100, "device_total_bytes": 7 * GIB},
        {"max_batch_size": 100, "device_total_bytes": 7 * GIB + 70 * MIB},
    )
    document = json.loads(json.dumps(found.to_dict()))
    assert list(document) == [
        "schema_version", "target", "device", "config", "weight_dtypes", "predicted", "measured",
        "max_batch_of_all_ranks", "error", "tolerance", "confirmed", "complaints", "stopped",
        "bound", "probes", "versions", "assumptions", "warnings", "values",
        "model_arguments",
    ]  # fmt: skip
    assert document["device"]["kind"] == "physical"
    assert document["error"]["max_batch_size"] == 0
    assert document["error"]["step_s"] is None
    assert [probe["outcome"] for probe in document["probes"]] == ["fits", "oom"]
    assert document["confirmed"] is True


def test_the_table_has_both_sides_and_every_probe() -> None:
    found = verification(
        {"max_batch_size": 110, "device_total_bytes": 7 * GIB},
        {"max_batch_size": 100, "device_total_bytes": 7 * GIB, "step_s": 0.012},
    )
    console = Console(width=100, record=True, file=None)
    with console.capture() as captured:
        console.print(render(found))
    text = captured.get()
    for line in (
        "largest batch  110        100       +10.00%",
        "device total   7.00 GiB   7.00 GiB  +0.00%",
        "step time      -          12.0 ms   -",
        "1      100    fits   7.00 GiB      1.5",
        "2      101    oom    -             0.5",
        "the predicted largest batch 110 lies above the measured 100",
    ):
        assert line in text


def first_line(found: Verification) -> str:
    console = Console(width=200, no_color=True, force_terminal=False)
    with console.capture() as captured:
        console.print(render(found))
    return captured.get().splitlines()[0].rstrip()


def test_the_report_begins_with_the_verdict_and_both_sides() -> None:
    both = {"max_batch_size": 100, "device_total_bytes": 7 * GIB}
    held = verification(both, both)
    assert first_line(held) == (
        f"{held.device.name}: confirmed; largest batch 100 measured, 100 predicted (+0.00%); "
        "device total 7.00 GiB measured, 7.00 GiB predicted (+0.00%)"
    )
    above = verification({**both, "max_batch_size": 110}, both)
    assert first_line(above).startswith(
        f"{above.device.name}: not confirmed; largest batch 100 measured, 110 predicted (+10.00%);"
    )
    alone = verification({}, {"max_batch_size": 9}, stopped="batch 10: killed")
    assert first_line(alone).endswith(": not confirmed; largest batch 9 measured")
    bound = verification({**both, "max_batch_size": 110}, both, bound="--max-batch 100")
    assert "; largest batch 100 or more measured, 110 predicted" in first_line(bound)
