"""The benchmark for a physical card: its rows, the time, failures, the file. A runner stands in."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmarks.command import ROOT, Ended
from benchmarks.physical_card import __main__ as command
from benchmarks.physical_card.rows import Kind, Status, result, rows
from benchmarks.physical_card.running import Results, run_rows, write_whole

SIDE = {
    "max_batch_size": 8,
    "peak_allocated_bytes": 1 << 20,
    "peak_reserved_bytes": 2 << 20,
    "context_overhead_bytes": 3 << 20,
    "device_total_bytes": 5 << 20,
    "step_s": 0.25,
}
DOCUMENT = {
    "predicted": SIDE,
    "measured": SIDE | {"peak_reserved_bytes": 4 << 20},
    "error": {**dict.fromkeys(SIDE, 0.0), "peak_reserved_bytes": -0.5},
    "complaints": ["reserved is off"],
    "stopped": "",
    "bound": "",
}


def ended(code: int = 0, stdout: str = json.dumps(DOCUMENT), **changes: Any) -> Ended:
    known: dict[str, Any] = {
        "arguments": (),
        "code": code,
        "stdout": stdout,
        "stderr": "",
        "seconds": 3.0,
        "timed_out": False,
        "processes_left": (),
        "files_left": (),
    }
    return Ended(**known | changes)


class Machine:
    """A clock that only commands move, and the commands."""

    def __init__(self, seconds: float = 10.0) -> None:
        self.now, self.seconds = 100.0, seconds
        self.limits: list[float] = []

    def clock(self) -> float:
        return self.now

    def run(self, arguments: Sequence[str], *, limit_s: float, module: str) -> Ended:
        self.limits.append(limit_s)
        self.now += min(self.seconds, limit_s)
        if module == "pytest":
            return ended(stdout="4 passed in 2 s")
        return ended(timed_out=self.seconds > limit_s, seconds=min(self.seconds, limit_s))


def run(machine: Machine, limit_s: float, *models: str) -> tuple[Results, list[Results]]:
    seen: list[Results] = []
    found = run_rows(
        rows(models, None),
        limit_s=limit_s,
        on_a_card=True,
        run=machine.run,
        after_each=seen.append,
        clock=machine.clock,
    )
    return found, seen


def test_peaks_of_all_models_come_first_then_tests_batches_and_times() -> None:
    kinds = [row.kind for row in rows(("mlp", "vit"), "h100")]
    assert (
        kinds
        == [Kind.PEAKS] * 6 + [Kind.GPU_TESTS] + [Kind.LARGEST_BATCH] * 6 + [Kind.STEP_TIME] * 6
    )
    assert [row.model for row in rows(("mlp", "vit"), None)[:3]] == ["mlp", "vit", "mlp"]
    assert rows(("mlp",), "h100")[0].arguments[2:4] == ("--emulated", "h100")
    assert rows(("mlp",), None)[0].arguments[2:4] == ("--device", "cuda")


def test_rows_that_the_time_does_not_reach_are_results() -> None:
    machine = Machine(seconds=10)
    found, seen = run(machine, 27.0, "mlp")
    statuses = [one.status for _, one in found]
    assert statuses == [Status.DONE, Status.DONE, Status.CUT_OFF] + [Status.NOT_REACHED] * 7
    assert machine.limits == [27.0, 17.0, 7.0]
    assert machine.now <= 100 + 27
    assert len(seen) == 4  # before the first, and after each that ran
    assert all(len(results) == 10 for results in seen)


def test_too_little_time_starts_nothing() -> None:
    machine = Machine()
    found, _ = run(machine, 4.0, "mlp")
    assert {one.status for _, one in found} == {Status.NOT_REACHED}
    assert machine.limits == []


def test_all_rows_are_done_in_time_and_tests_get_a_share() -> None:
    machine = Machine(seconds=10)
    found, _ = run(machine, 1000.0, "mlp")
    assert {one.status for _, one in found} == {Status.DONE}
    assert machine.limits[3] == pytest.approx(0.4 * 970)


@pytest.mark.parametrize(
    ("what", "error"),
    [
        (ended(1, "", stderr="error: no card"), "error: no card"),
        (ended(0, "no json"), "JSONDecodeError"),
        (ended(0, json.dumps({"predicted": {}})), "KeyError"),
        (OSError("cannot start"), "OSError: cannot start"),
        (ended(-9, "", stderr=""), "no message"),
    ],
    ids=["error", "garbage", "half", "no start", "killed"],
)
def test_a_row_that_fails_is_a_row_with_its_error(what: Ended | OSError, error: str) -> None:
    def fails(arguments: Sequence[str], *, limit_s: float, module: str) -> Ended:
        if isinstance(what, OSError):
            raise what
        return what

    found = run_rows(
        rows(("mlp",), None)[:2],
        limit_s=100,
        on_a_card=True,
        run=fails,
        after_each=lambda results: None,
    )
    assert [one.status for _, one in found] == [Status.FAILED] * 2
    assert error in found[0][1].error


def test_figures_have_both_sides_and_the_error() -> None:
    found = result(rows(("mlp",), None)[0], ended(4), on_a_card=True)
    assert found.quantities["peak_reserved_bytes"] == {
        "predicted": 2 << 20,
        "measured": 4 << 20,
        "error": -0.5,
    }
    assert found.remarks == ("reserved is off",)
    assert found.exit_code == 4


def test_a_verification_that_measured_nothing_failed() -> None:
    document = DOCUMENT | {
        "measured": dict.fromkeys(SIDE, None),
        "stopped": "the card went away",
    }
    found = result(rows(("mlp",), None)[0], ended(4, json.dumps(document)), on_a_card=True)
    assert found.status is Status.FAILED
    assert found.error == "the card went away"


@pytest.mark.parametrize(
    ("summary", "on_a_card", "status"),
    [
        ("4 passed in 90 s", True, Status.DONE),
        ("4 skipped in 1 s", True, Status.FAILED),
        ("4 skipped in 1 s", False, Status.DONE),
        ("no tests ran in 1 s", False, Status.FAILED),
    ],
)
def test_skipped_tests_are_no_success_on_a_card(
    summary: str, on_a_card: bool, status: Status
) -> None:
    row = next(row for row in rows(("mlp",), None) if row.kind is Kind.GPU_TESTS)
    assert result(row, ended(stdout=summary), on_a_card=on_a_card).status is status


def test_the_command_lists_what_it_did_not_reach(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "rows.json"
    arguments = ["--minutes", "0.01", "--models", "mlp", "--emulated", "h100", "--json", str(path)]
    assert command.main(arguments, run=Machine().run) == 1
    printed = capsys.readouterr().out
    assert "not reached in 0.01 min (10): peaks mlp fp32; " in printed
    kept = json.loads(path.read_text())
    assert kept["counts"] == {"done": 0, "failed": 0, "cut off": 0, "not reached": 10}
    assert [row["status"] for row in kept["rows"]] == ["not reached"] * 10
    assert kept["measured_on_a_card"] is False


def test_the_command_prints_a_row_as_it_ends(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "rows.json"
    arguments = ["--minutes", "5", "--models", "mlp", "--emulated", "h100", "--json", str(path)]
    assert command.main(arguments, run=Machine().run) == 0
    lines = capsys.readouterr().out.splitlines()
    peaks = next(line for line in lines if line.startswith("peaks mlp fp32"))
    cells = ["done", "10", "1/1", "2/4", "3/3", "-/-", "250/250"]
    assert peaks.split("\t")[1:] == [*cells, "reserved is off"]
    assert sum(line.startswith("largest batch") for line in lines) == 3
    assert json.loads(path.read_text())["counts"]["done"] == 10


def test_an_unknown_model_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--models", "nothing"], run=Machine().run) == 2
    assert "mlp" in capsys.readouterr().err


def test_the_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    write_whole(path, {"a": 1})
    with pytest.raises(ValueError, match="JSON"):
        write_whole(path, {"a": float("nan")})
    assert json.loads(path.read_text()) == {"a": 1}


def test_the_page_names_every_dependency() -> None:
    project = (ROOT / "pyproject.toml").read_text().partition("\ndependencies = [")[2]
    dependencies = re.findall(r'"(.+)"', project.partition("\n]")[0])
    assert len(dependencies) > 5
    page = (ROOT / "benchmarks" / "physical_card" / "README.md").read_text()
    for dependency in dependencies:
        if re.split("[><=]", dependency)[0] != "torch":  # the machine's own
            assert dependency in page
