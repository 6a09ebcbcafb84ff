"""`planner history`: the list, one entry, the export, deleting."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from planner.cli.root import root
from planner.config.step import Precision, StepConfig
from planner.results.estimate import Versions
from planner.results.verification import DeviceKind, Figures, Verification, VerifiedDevice
from planner.units import GIB, MIB
from planner.verification import history

KEPT = Verification(
    target="models/net.py",
    config=StepConfig(batch_size=8, precision=Precision.FP32),
    optimizer="AdamW",
    device=VerifiedDevice(
        name="Tesla T4", kind=DeviceKind.PHYSICAL, memory_bytes=15 * GIB, driver="550.54.15"
    ),
    predicted=Figures(max_batch_size=40, batch_size=8, device_total_bytes=1100 * MIB, step_s=0.05),
    measured=Figures(max_batch_size=40, batch_size=8, device_total_bytes=1000 * MIB),
    probes=(),
    versions=Versions(torch="2.14.1", cuda="13.0", cudnn=None, python="3.11.7", planner="0.1.0"),
    tolerance=0.05,
)


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A history with two entries."""
    monkeypatch.setenv("VRAM_PLANNER_DATA", str(tmp_path / "data"))
    history.add(KEPT)
    history.add(replace(KEPT, target="other.py", device=replace(KEPT.device, name="NVIDIA L4")))
    return tmp_path / "data" / "history.sqlite"


def run(*words: str, answer: str | None = None) -> Result:
    return CliRunner().invoke(root, ["history", *words], input=answer)


def test_the_list_has_a_line_for_each() -> None:
    result = run()
    heading, first, second = result.stdout.splitlines()
    assert heading.split()[0] == "id"
    assert first.split()[0] == "1"
    assert first.split()[3:] == [
        "Tesla", "T4", "550.54.15", "2.14.1", "models/net.py", "fp32", "8", "1000", "MiB", "1.07",
        "GiB", "+10.00%", "no",
    ]  # fmt: skip
    assert "NVIDIA L4" in second
    assert (result.exit_code, result.stderr) == (0, "")


def test_the_list_as_json_and_of_one_card() -> None:
    document = json.loads(run("--json", "--card", "NVIDIA L4").stdout)
    assert document["schema_version"] == 1
    assert [(one["id"], one["target"]) for one in document["entries"]] == [(2, "other.py")]
    assert run("--target", "models/net.py").stdout.count("Tesla T4") == 1


def test_without_entries(store: Path) -> None:
    store.unlink()
    assert run().stdout == "nothing is kept yet\n"
    assert json.loads(run("--json").stdout)["entries"] == []
    assert run("export").stdout == ""
    result = run("delete", "--all")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "the history is empty\n")


def test_one_entry() -> None:
    result = run("show", "1")
    assert result.exit_code == 0
    assert "models/net.py, train, fp32, batch 8\n" in result.stdout
    assert "Tesla T4, driver 550.54.15, torch 2.14.1\nnot confirmed\n" in result.stdout
    assert "device total    1.07 GiB   1000 MiB  +10.00%\n" in result.stdout
    assert "step            0.05 s     -         -\n" in result.stdout
    assert "reserved" not in result.stdout
    document = json.loads(run("show", "1", "--json").stdout)
    assert document == {"schema_version": 1, **history.entry(1).to_dict()}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["show", "7"], "the history has no entry 7; `planner history` lists them"),
        (["show", "x"], "'ID'"),
        (["show", "0"], "'ID'"),
        (["show"], "Missing argument"),
        (["delete", "7", "-y"], "no entry 7"),
        (["delete", "1", "9", "8"], "no entries 8, 9"),
        (["delete"], "say which"),
        (["delete", "1", "--all"], "say which"),
        (["delete", "last"], "'ID...'"),
        (["export", "a", "b"], "unexpected extra argument"),
        (["list"], "No such command"),
    ],
    ids=" ".join,
)
def test_wrong_usage(words: list[str], said: str) -> None:
    result = run(*words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("error: ")
    assert said in result.stderr
    assert history.ids_kept() == (1, 2)


def test_export_writes_a_line_for_each(tmp_path: Path) -> None:
    on_stdout = run("export").stdout
    assert [json.loads(line)["id"] for line in on_stdout.splitlines()] == [1, 2]
    file = tmp_path / "runs.jsonl"
    file.write_text("of yesterday")
    result = run("export", str(file))
    assert (result.exit_code, result.stdout) == (0, "")
    assert file.read_text() == on_stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "runs.jsonl"]
    assert run("export", "-").stdout == on_stdout


def test_an_export_that_fails_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    file = tmp_path / "runs.jsonl"
    file.write_text("of yesterday")
    result = run("export", str(file))
    assert (result.exit_code, result.stdout) == (1, "")
    assert "No space left on device" in result.stderr
    assert file.read_text() == "of yesterday"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "runs.jsonl"]


def test_an_export_into_a_folder_that_is_not_there(tmp_path: Path) -> None:
    result = run("export", str(tmp_path / "nowhere" / "runs.jsonl"))
    assert result.exit_code == 1
    assert "Traceback" not in result.stderr


def test_delete_asks() -> None:
    result = run("delete", "2", answer="n\n")
    assert result.exit_code == 130
    assert "delete entry 2?" in result.stderr
    assert history.ids_kept() == (1, 2)
    result = run("delete", "2", answer="y\n")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr.endswith("deleted entry 2\n")
    assert history.ids_kept() == (1,)


def test_delete_without_asking() -> None:
    assert run("delete", "1", "1", "--yes").stderr == "deleted entry 1\n"
    assert run("delete", "--all", "-y").stderr == "deleted all 1 entry\n"
    assert history.ids_kept() == ()


@pytest.mark.parametrize("words", [[], ["show", "1"], ["export"], ["delete", "1", "-y"]], ids=str)
def test_a_broken_history_is_one_message(store: Path, words: list[str]) -> None:
    store.write_bytes(b"x" * 8192)
    result = run(*words)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"error: the history {store} cannot be used: it is not a SQL")
    assert store.read_bytes() == b"x" * 8192
