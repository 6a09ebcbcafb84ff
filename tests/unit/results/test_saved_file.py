"""Saved results: whole, equal when they are read, and refused where they are damaged."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from planner.errors import DocumentError, OutputError
from planner.results.curve import Curve
from planner.results.estimate import Estimate
from planner.results.result import Result
from planner.results.saved_file import load, save
from planner.wire.trace import AllocationEvent, AllocationTrace, EventKind, Origin

TRACE = AllocationTrace(
    events=(
        AllocationEvent(kind=EventKind.ALLOC, block=0, size_bytes=512, block_bytes=512),
        AllocationEvent(kind=EventKind.FREE, block=0, size_bytes=512),
    ),
    origins=(Origin(), Origin(module="layer.0", source="/odd\udcff/net.py:3")),
)


@pytest.fixture
def kept(estimate: Estimate) -> Estimate:
    return replace(estimate, allocations=(TRACE, None))


def test_an_estimate_comes_back_with_its_allocations(kept: Estimate, tmp_path: Path) -> None:
    kept.save(tmp_path / "a.planner")
    assert load(tmp_path / "a.planner") == kept


def test_without_allocations(estimate: Estimate, tmp_path: Path) -> None:
    save(estimate, str(tmp_path / "a.planner"))
    assert load(str(tmp_path / "a.planner")) == estimate


def test_other_results(curve: Curve, tmp_path: Path) -> None:
    curve.save(tmp_path / "a.planner")
    assert load(tmp_path / "a.planner") == curve


def test_equal_results_are_equal_files(kept: Estimate, tmp_path: Path) -> None:
    for name in "ab":
        kept.save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_anybody_can_look_into_it(kept: Estimate, tmp_path: Path) -> None:
    kept.save(tmp_path / "a.planner")
    with zipfile.ZipFile(tmp_path / "a.planner") as archive:
        assert archive.namelist() == ["result.json", "allocations-0.json"]
        document = json.loads(archive.read("result.json"))
    assert {name: document[name] for name in kept.to_dict()} == kept.to_dict()


def test_what_json_prints_is_read_too(estimate: Estimate, tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text(json.dumps(estimate.to_dict()))
    found = load(file)
    assert isinstance(found, Result)
    assert found.to_dict() == estimate.to_dict()


def archive_of(file: Path, **members: bytes) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name.replace("_", "."), data)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "neither JSON nor an archive"),
        (b"\x80\x04K\x01.", "neither JSON nor an archive"),  # a pickle
        (b"[1, 2]", "JSON, but a list in place of an object"),
        (b"[" * 100_000, "neither JSON nor an archive"),
        (b'{"a": 1}', "not a result of planner: it has the keys 'a'"),
        (b"PK\x05\x06" + bytes(18), "an archive without result.json"),
    ],
    ids=["empty", "pickle", "list", "deep", "other", "empty archive"],
)
def test_what_is_no_result(tmp_path: Path, data: bytes, said: str) -> None:
    file = tmp_path / "a.planner"
    file.write_bytes(data)
    with pytest.raises(DocumentError, match=f"a.planner cannot be read: .*{said}"):
        load(file)


def test_every_cut_and_every_changed_byte_is_seen(kept: Estimate, tmp_path: Path) -> None:
    kept.save(tmp_path / "whole")
    whole = (tmp_path / "whole").read_bytes()
    file = tmp_path / "part"
    for length in range(0, len(whole), 97):
        file.write_bytes(whole[:length])
        with pytest.raises(DocumentError):
            load(file)
    for place in range(0, len(whole), 53):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        try:
            found = load(file)
        except DocumentError:
            continue
        assert found in (kept, replace(kept, allocations=())), place  # a byte that says nothing


def test_damaged_allocations(kept: Estimate, tmp_path: Path) -> None:
    file = tmp_path / "a.planner"
    document = json.dumps(kept.to_complete_dict()).encode()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("result.json", document)
        archive.writestr("allocations-0.json", b'{"events": 3}')
    with pytest.raises(DocumentError, match=r"allocations-0\.json in it cannot be read"):
        load(file)


def test_a_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("planner.results.saved_file._LARGEST_BYTES", 1 << 20)
    archive_of(tmp_path / "a.planner", result_json=b" " * (1 << 21))
    with pytest.raises(DocumentError, match="larger than 1 MiB"):
        load(tmp_path / "a.planner")


def test_places_that_cannot_be(estimate: Estimate, tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match="there is no such file"):
        load(tmp_path / "none")
    with pytest.raises(DocumentError, match="it is not a file"):
        load(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DocumentError, match="it is not a file"):
        load(tmp_path / "pipe")
    with pytest.raises(OutputError):
        estimate.save(tmp_path / "none" / "a.planner")


def test_reading_imports_no_torch(kept: Estimate, tmp_path: Path) -> None:
    kept.save(tmp_path / "a.planner")
    program = (
        "import sys, planner; found = planner.load(sys.argv[1]); "
        "assert found.gpus and 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program, tmp_path / "a.planner"], check=True)
