"""The least answer of all ranks, with real processes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from planner.errors import ChildError, ChildTimeoutError
from planner.verification.ranks import _folder, smallest_of_ranks

RANK = """
import os, sys
from planner.verification.ranks import smallest_of_ranks
answer = int(sys.argv[1]) if sys.argv[1] != "none" else None
print(smallest_of_ranks(answer, wait_s=20))
"""


def ranks(*answers: str, temporary: Path) -> list[str]:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", RANK, answer],
            stdout=subprocess.PIPE,
            text=True,
            env={
                **os.environ,
                "LOCAL_RANK": str(number),
                "LOCAL_WORLD_SIZE": str(len(answers)),
                "TORCHELASTIC_RUN_ID": "job/1",
                "TMPDIR": str(temporary),
            },
        )
        for number, answer in enumerate(answers)
    ]
    said = [process.communicate(timeout=60)[0].strip() for process in processes]
    assert [process.returncode for process in processes] == [0] * len(answers)
    return said


@pytest.mark.parametrize(
    ("answers", "least"),
    [(("30", "28", "31"), "28"), (("0", "28"), "0"), (("30", "none"), "None")],
)
def test_every_rank_is_told_the_least(answers: tuple[str, ...], least: str, tmp_path: Path) -> None:
    assert ranks(*answers, temporary=tmp_path) == [least] * len(answers)
    assert not list(tmp_path.glob("vram-planner-ranks-*"))


def test_a_folder_that_another_rank_removes_meanwhile_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As between the look whether the folder is there and the look at what it holds."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    glob = Path.glob

    def glob_too_late(self: Path, pattern: str) -> Iterator[Path]:
        if pattern.startswith("read-"):
            shutil.rmtree(self)
            raise FileNotFoundError(self)
        return iter(list(glob(self, pattern)))

    monkeypatch.setattr(Path, "glob", glob_too_late)
    folder = _folder([])
    (folder / "answer-1").write_text("9")
    environment = {"LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "2"}
    monkeypatch.setattr("planner.verification.ranks._folder", lambda parts: folder)
    assert smallest_of_ranks(12, environment=environment) == 9
    assert not folder.exists()


def test_without_torchrun_there_is_no_other_answer() -> None:
    assert smallest_of_ranks(12, environment={}) is None
    assert smallest_of_ranks(12, environment={"LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"}) is None


def test_a_rank_that_never_answers_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    alone = {"LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "2"}
    with pytest.raises(ChildTimeoutError, match="of 2 ranks 1 have found"):
        smallest_of_ranks(12, environment=alone, wait_s=0.2)


def test_the_folder_of_another_account_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = _folder(["host", "29500"])
    assert _folder(["host", "29500"]) == folder
    folder.chmod(0o755)
    with pytest.raises(ChildError, match="not a private folder of yours"):
        _folder(["host", "29500"])
    folder.chmod(0o700)
    owner = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: owner + 1)
    folder.rename(str(folder).replace(f"-{owner}-", f"-{owner + 1}-"))
    with pytest.raises(ChildError, match="not a private folder of yours"):
        _folder(["host", "29500"])
