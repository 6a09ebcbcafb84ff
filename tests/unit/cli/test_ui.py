"""`planner ui`: what it says before it serves, and what it hands to the server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from planner.cli import ui as ui_module
from planner.cli.root import root
from planner.ui import server
from planner.ui.jobs import Limits


def test_a_missing_package_is_named_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ui_module, "find_spec", lambda name: None if name == "uvicorn" else name)
    done = CliRunner().invoke(root, ["ui"])
    assert done.exit_code == 1
    assert done.stderr == "error: planner ui needs uvicorn: pip install 'vram-planner[ui]'\n"
    assert done.stdout == ""


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    done = CliRunner().invoke(root, ["ui", str(tmp_path / "none")])
    assert done.exit_code == 2
    assert "does not exist; name the folder that holds your model files" in done.stderr


def test_the_address_is_the_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[dict[str, Any]] = []

    def pretended(folder: Path, **given: Any) -> None:
        calls.append({"folder": folder, **given})
        given["on_ready"]("http://127.0.0.1:8765/?token=x")

    monkeypatch.setattr(server, "serve", pretended)
    (tmp_path / "link").symlink_to(tmp_path)
    words = ["ui", str(tmp_path / "link"), "--port", "8765", "--no-browser", "--jobs", "2"]
    done = CliRunner().invoke(root, words)
    assert (done.exit_code, done.stdout) == (0, "http://127.0.0.1:8765/?token=x\n")
    assert done.stderr == f"model files of {tmp_path.resolve()}; Ctrl-C ends it\n"
    (call,) = calls
    assert call["folder"] == tmp_path.resolve()
    assert (call["port"], call["opens_browser"]) == (8765, False)
    assert call["limits"] == Limits(running=2)
