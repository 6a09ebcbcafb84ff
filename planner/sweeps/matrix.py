"""The grid of a sweep: each value of each axis with each of the others, as matrices of CI have it.

In: axes, and rows to include and to exclude; or a YAML file with them. Out: cases, in the order of
the axes. Convention: `include` does what it does in a matrix of GitHub Actions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from planner.errors import HardwareDatabaseError, UsageError
from planner.hardware.yaml_files import parsed, read_text
from planner.sweeps.case import SweepCase, canonical, sweep_case
from planner.sweeps.words import GPU, TARGET, axis_name, checked

MOST_CASES = 1_000_000
_MOST_FILE_BYTES = 1 << 20  # some ten thousand targets
_INCLUDE, _EXCLUDE = "include", "exclude"
_Row = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """Values by axis, and rows that name some of them."""

    axes: Mapping[str, tuple[Any, ...]]
    include: tuple[Mapping[str, Any], ...] = ()
    exclude: tuple[Mapping[str, Any], ...] = ()

    def cases(self) -> tuple[SweepCase, ...]:
        """Returns the cases, each once.

        Raises:
            UsageError: no case is left, there are too many, or one has no target or no card.
        """
        size = 1
        for values in self.axes.values():
            size *= len(values)
        if size > MOST_CASES:
            raise UsageError(f"the matrix has {size} cases; a sweep takes at most {MOST_CASES}")
        grid = [dict(zip(self.axes, row, strict=True)) for row in product(*self.axes.values())]
        rows = [
            row for row in grid if self.axes and not any(_has(row, one) for one in self.exclude)
        ]
        found = {case.key: case for case in map(_case, self._with_included(rows))}
        if not found:
            raise UsageError(
                "the matrix has no case: name targets and cards, like `planner sweep net.py --gpu "
                "t4,a100`, and see whether exclude leaves any"
            )
        return tuple(found.values())

    def _with_included(self, rows: list[_Row]) -> list[_Row]:
        """Adds what `include` says: to each row that it contradicts on no axis, else a new row."""
        originals = [dict(row) for row in rows]
        extra: list[_Row] = []
        for one in self.include:
            on_axes = {name: value for name, value in one.items() if name in self.axes}
            fitting = [row for row, own in zip(rows, originals, strict=True) if _has(own, on_axes)]
            if len(on_axes) == len(one) or not fitting:
                # It names nothing but a place of the grid: that is there already, or is new.
                extra += [] if fitting and one else [dict(one)]
                continue
            for row in fitting:
                row.update(one)
        return [*rows, *extra]


def matrix_of(
    axes: Mapping[str, Any],
    include: Sequence[Mapping[str, Any]] = (),
    exclude: Sequence[Mapping[str, Any]] = (),
) -> Matrix:
    """Returns the matrix of values in the caller's words; a value alone is a list of one.

    Raises:
        UsageError: an unknown option, a value that it does not take, a row that is no mapping.
    """
    named: dict[str, tuple[Any, ...]] = {}
    for word, values in axes.items():
        name = axis_name(word)
        if name in named:
            raise UsageError(f"the matrix names {name} twice")
        named[name] = _values(name, values)
    return Matrix(axes=named, include=_rows(include, _INCLUDE), exclude=_rows(exclude, _EXCLUDE))


def matrix_file(path: Path) -> Mapping[str, Any]:
    """Returns the keys of a YAML file; `include` and `exclude` are among them.

    Raises:
        UsageError: it cannot be read, is not YAML, or is no mapping.
    """
    try:
        found = parsed(read_text(path, _MOST_FILE_BYTES), path)
    except HardwareDatabaseError as error:
        raise UsageError(str(error).replace("a record has", "a matrix has")) from None
    if not isinstance(found, Mapping):
        raise UsageError(
            f"{path}: a matrix has an axis on each line, like `target: [net.py]` and `gpu: [t4]`"
        )
    return {str(name): value for name, value in found.items()}


def split_rows(found: Mapping[str, Any]) -> tuple[dict[str, Any], list[Any], list[Any]]:
    """Returns axes, included and excluded rows of the keys of a file."""
    axes = {name: value for name, value in found.items() if name not in (_INCLUDE, _EXCLUDE)}
    return axes, found.get(_INCLUDE) or [], found.get(_EXCLUDE) or []


def _values(name: str, values: Any) -> tuple[Any, ...]:
    given = values if isinstance(values, (list, tuple)) else [values]
    if name == GPU:  # "t4,a100" means two, as everywhere
        given = [word for one in given for word in (str(one).split(",") if one else [one])]
    if not given:
        raise UsageError(f"{name} has no value: write one, or leave {name} out")
    each = [checked(name, value) for value in given]
    return tuple({canonical(value): value for value in each}.values())


def _rows(given: Any, key: str) -> tuple[dict[str, Any], ...]:
    if not isinstance(given, (list, tuple)) or not all(isinstance(one, Mapping) for one in given):
        raise UsageError(f"{key} must be a list of rows, like `- {{gpu: t4, batch: 32}}`")
    return tuple(
        {(name := axis_name(word)): checked(name, value) for word, value in one.items()}
        for one in given
    )


def _has(row: Mapping[str, Any], part: Mapping[str, Any]) -> bool:
    return all(
        name in row and canonical(row[name]) == canonical(value) for name, value in part.items()
    )


def _case(row: Mapping[str, Any]) -> SweepCase:
    for name, like in ((TARGET, "net.py"), (GPU, "a100")):
        if name not in row:
            raise UsageError(
                f"a case of the matrix has no {name}, only {canonical(row)}: add `{name}: {like}`"
            )
    options = {name: value for name, value in row.items() if name not in (TARGET, GPU)}
    return sweep_case(row[TARGET], row[GPU], options)
