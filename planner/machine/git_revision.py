"""A revision of a git repository as files in a private folder, removed afterwards.

In: a folder in a repository, a revision. Out: RevisionTree. Convention: the repository is only
read: no worktree is registered in it, its index stays, no hook is run; so nothing is left in it,
however this process ends. Submodules are empty folders.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from planner.errors import UsageError

_SOURCES = "src"  # a usual folder of packages
_SEARCH_PATH = "PYTHONPATH"


@dataclass(frozen=True, slots=True, kw_only=True)
class RevisionTree:
    """`top` is the folder of the repository, `tree` that of the revision's files."""

    top: Path
    tree: Path
    commit: str

    def moved(self, path: Path) -> Path | None:
        """Returns the path of the revision's file for one in the repository; None for others."""
        resolved = Path(os.path.realpath(path))
        if not resolved.is_relative_to(self.top):
            return None
        return self.tree / resolved.relative_to(self.top)


@contextmanager
def revision_tree(folder: Path, revision: str) -> Iterator[RevisionTree]:
    """Yields the files of a revision of the repository that `folder` is in.

    Raises:
        UsageError: git is missing, it is no repository, or there is no such revision.
    """
    top = Path(os.path.realpath(_git(folder, "rev-parse", "--show-toplevel")))
    commit = _git(
        folder, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}",
        refusal=f"there is no revision {revision!r} in {top}",
    )  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="planner-revision-") as private:
        base = Path(os.path.realpath(private))
        tree = base / "tree"
        tree.mkdir()
        index = {"GIT_INDEX_FILE": str(base / "index")}
        _git(top, "read-tree", commit, extra=index)
        _git(top, "checkout-index", "--all", f"--prefix={tree}/", extra=index)
        yield RevisionTree(top=top, tree=tree, commit=commit)


@contextmanager
def working_in(found: RevisionTree) -> Iterator[None]:
    """Makes the revision's files the working directory, and the first place of imports.

    It changes this process: only a command line, which does nothing else, may use it.
    """
    before = Path.cwd()
    path = os.environ.get(_SEARCH_PATH)
    folder = found.moved(before)
    given = [str(found.moved(Path(entry)) or entry) for entry in (path or "").split(":") if entry]
    own = [str(one) for one in (found.tree, found.tree / _SOURCES) if one.is_dir()]
    os.chdir(folder if folder is not None and folder.is_dir() else found.tree)
    os.environ[_SEARCH_PATH] = ":".join([*own, *given])
    try:
        yield
    finally:
        os.chdir(before)
        if path is None:
            del os.environ[_SEARCH_PATH]
        else:
            os.environ[_SEARCH_PATH] = path


def _git(
    folder: Path, *words: str, extra: Mapping[str, str] | None = None, refusal: str = ""
) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *words],
            env={**os.environ, **(extra or {})},
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except OSError as error:
        raise UsageError(f"--rev needs git, which cannot be started: {error.strerror}") from error
    if done.returncode:
        raise UsageError(f"--rev: {refusal or done.stderr.strip() or 'git failed'}")
    return done.stdout.strip()
