"""Files of a revision: private, complete, removed; the repository stays as it was."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest

from planner.errors import UsageError
from planner.machine.git_revision import revision_tree, working_in


def git(folder: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", "-C", str(folder), *words],
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two commits of src/net.py; the second is changed again and partly staged."""
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "own project"
    (folder / "src").mkdir(parents=True)
    git(tmp_path, "init", "-q", "-b", "main", str(folder))
    for number in (1, 2):
        (folder / "src" / "net.py").write_text(f"x = {number}\n")
        git(folder, "add", ".")
        git(folder, "commit", "-qm", f"commit {number}")
    (folder / "src" / "net.py").write_text("x = 3\n")
    (folder / "new.py").write_text("y = 1\n")
    git(folder, "add", "new.py")
    return folder


def state(folder: Path) -> tuple[str, str, list[str]]:
    files = sorted(str(one.relative_to(folder)) for one in (folder / ".git").rglob("*"))
    objects = [one for one in files if "/objects/" not in f"/{one}"]
    return git(folder, "status", "--porcelain"), git(folder, "worktree", "list"), objects


def test_a_revision_is_there_and_the_repository_is_unchanged(repository: Path) -> None:
    before = state(repository)
    with revision_tree(repository / "src", "main~1") as found:
        assert (found.tree / "src" / "net.py").read_text() == "x = 1\n"
        assert not (found.tree / "new.py").exists()
        assert not stat.S_IMODE(found.tree.parent.stat().st_mode) & 0o077
        assert found.moved(repository / "src" / "net.py") == found.tree / "src" / "net.py"
        assert found.moved(Path("/elsewhere/net.py")) is None
        assert state(repository) == before
        private = found.tree.parent
    assert not private.exists()
    assert state(repository) == before


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, ValueError])
def test_it_is_removed_however_the_work_ends(repository: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), revision_tree(repository, "main") as found:
        raise error
    assert not found.tree.parent.exists()


def test_no_hook_is_run(repository: Path) -> None:
    hook = repository / ".git" / "hooks" / "post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch '{repository}/hooked'\n")
    hook.chmod(0o755)
    with revision_tree(repository, "main"):
        pass
    assert not (repository / "hooked").exists()


def test_the_working_directory_and_the_imports_are_those_of_the_revision(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(repository / "src")
    monkeypatch.setenv("PYTHONPATH", f"{repository}/src:/elsewhere")
    with revision_tree(repository, "main") as found:
        with working_in(found):
            assert Path.cwd() == found.tree / "src"
            assert os.environ["PYTHONPATH"].split(":") == [
                str(found.tree), f"{found.tree}/src", f"{found.tree}/src", "/elsewhere",
            ]  # fmt: skip
        assert Path.cwd() == repository / "src"
        assert os.environ["PYTHONPATH"] == f"{repository}/src:/elsewhere"


@pytest.mark.parametrize("revision", ["none", "--all", "", "main:src/net.py", "-h"])
def test_an_unknown_revision_is_named(repository: Path, revision: str) -> None:
    with (
        pytest.raises(UsageError, match="there is no revision"),
        revision_tree(repository, revision),
    ):
        pass


def test_outside_of_a_repository_git_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(UsageError, match="not a git repository"), revision_tree(tmp_path, "main"):
        pass


def test_without_git_the_message_says_what_is_missing(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with (
        pytest.raises(UsageError, match="--rev needs git"),
        revision_tree(repository, "main"),
    ):
        pass
