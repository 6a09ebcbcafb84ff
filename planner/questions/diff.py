"""diff(): two estimates compared: of two files, two revisions of a repository, two sets of options.

two results, or a target with what differs
  -> two Estimates, one after the other
  -> Difference
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from planner.config.options import Progress
from planner.errors import TargetError, UsageError
from planner.machine.git_revision import RevisionTree, revision_tree, working_in
from planner.preflight.source_names import SourceName, source_name
from planner.questions.estimate import estimate
from planner.results.difference import Difference, Side, difference
from planner.results.estimate import Estimate
from planner.results.saved_file import load

WORKING_TREE = "working tree"
_INSTALLED = ("site-packages", "dist-packages")


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedEstimate:
    """A target, its options as planner.estimate() takes them, and its label in the report."""

    target: str
    options: Mapping[str, Any]
    label: str


def diff_files(before: Path, after: Path) -> Difference:
    """Compares two saved results, of --save or of --json.

    Raises:
        DocumentError: one cannot be read. UsageError: one is not the result of an estimate.
    """
    return difference(_saved(before), _saved(after))


def diff_options(
    before: AskedEstimate, after: AskedEstimate, on_progress: Progress | None = None
) -> Difference:
    """Compares a target with two sets of options.

    Raises:
        PlannerError: see errors.py.
    """
    sides = []
    for asked in (before, after):
        found = _estimated(asked, on_progress)
        sides.append(
            Side(label=asked.label, found=found, name_source=partial(source_name, root=Path.cwd()))
        )
    return difference(sides[0], sides[1])


def diff_revisions(
    asked: AskedEstimate, before: str, after: str | None, on_progress: Progress | None = None
) -> Difference:
    """Compares a target in two revisions; without `after`, the second is the working tree.

    It changes the working directory of this process for the time of an estimate.

    Raises:
        PlannerError: see errors.py; also where the revision's code imports files of the working
        tree, because the figures would then be of both.
    """
    first = _of_revision(asked, before, on_progress)
    if after is not None:
        return difference(first[0], _of_revision(asked, after, on_progress)[0])
    found = _estimated(asked, on_progress)
    here = Side(label=WORKING_TREE, found=found, name_source=partial(source_name, root=first[1]))
    return difference(first[0], here)


def _of_revision(
    asked: AskedEstimate, revision: str, on_progress: Progress | None
) -> tuple[Side, Path]:
    """Returns the estimate of a revision, and the folder of the repository."""
    file = _file_of(asked.target)
    with revision_tree(Path.cwd() if file is None else file.parent, revision) as tree:
        target = asked.target
        if file is not None:
            name = asked.target.rpartition(".py")[2]  # :NAME, or nothing
            target = f"{_moved(file, tree, revision)}{name}"
        with working_in(tree):
            found = _estimated(
                AskedEstimate(target=target, options=asked.options, label=revision), on_progress
            )
        _check_imports(found, tree, revision)
        # The names of lines are needed while the files are there.
        names = {source: source_name(source, tree.tree) for source in _sources(found)}
    label = f"{revision} ({tree.commit[:10]})"
    side = Side(
        label=label, found=replace(found, target=asked.target), name_source=names.__getitem__
    )
    return side, tree.top


def _file_of(target: str) -> Path | None:
    """Returns the path of a target that is a file; None for a module or a published model."""
    path, extension, name = target.rpartition(".py")
    if not extension or (name and not name.startswith(":")):
        return None
    return Path(f"{path}{extension}").expanduser().absolute()


def _moved(file: Path, tree: RevisionTree, revision: str) -> Path:
    """Returns the file of the revision.

    Raises:
        UsageError: it is outside of the repository, or the revision does not have it.
    """
    moved = tree.moved(file)
    if moved is None:
        raise UsageError(f"--rev: {file} is not in the repository {tree.top}")
    if not moved.is_file():
        name = moved.relative_to(tree.tree)
        raise UsageError(f"--rev: there is no file {name} in revision {revision}")
    return moved


def _check_imports(found: Estimate, tree: RevisionTree, revision: str) -> None:
    """Raises TargetError if code of the working tree took part in a revision's step."""
    for source in sorted(_sources(found)):
        file = Path(os.path.realpath(source.rpartition(":")[0]))
        is_own = file.is_relative_to(tree.top) and not file.is_relative_to(tree.tree)
        if is_own and not any(name in file.parts for name in _INSTALLED):
            raise TargetError(
                f"revision {revision}: its step ran {file} of the working tree, so its figures "
                "would be of both. The package may be installed from there (pip install -e): check "
                "the revision out in a worktree and an environment of its own, run planner "
                "estimate --save in each, and compare the files: planner diff A B"
            )


def _sources(found: Estimate) -> set[str]:
    return {
        block.origin.source
        for card in found.gpus
        if card.breakdown is not None
        for block in card.breakdown.held
        if block.origin.source
    }


def _estimated(asked: AskedEstimate, on_progress: Progress | None) -> Estimate:
    def show(text: str) -> None:
        if on_progress is not None:
            card, separator, rest = text.partition(": ")
            named = f"{asked.label}, {card}" if separator else asked.label
            on_progress(f"{named}: {rest or card}")

    return estimate(asked.target, **asked.options, on_progress=show)


def _saved(file: Path) -> Side:
    found = load(file)
    if not isinstance(found, Estimate):
        raise UsageError(
            f"{file} is the result of another command, and planner diff compares those of planner "
            "estimate and planner run"
        )
    return Side(label=str(file), found=found, name_source=_without_text)


def _without_text(source: str) -> SourceName:
    """Returns FILE:LINE alone: the file may have changed since the result was saved."""
    place = source_name(source, Path.cwd()).place
    return SourceName(name=place, place=place, is_inside=False)
