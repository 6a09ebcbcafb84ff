"""Shows how far an answer depends on values read from the card: in words, and as JSON.

In: the places where a run read values. Out: ValuesResult. The JSON form is a contract: keys are
added, never changed or removed.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from planner.config.step import DataDependent
from planner.wire.value_reads import (
    Decision,
    ReadSite,
    ValueRead,
    ValuesState,
    deciding,
    values_state,
)

if TYPE_CHECKING:
    from planner.results.schema.values import ReadDocument, ValuesDocument

_SHOWN = 3
_BACKWARD = "backward"


@dataclass(frozen=True, slots=True, kw_only=True)
class ValuesResult:
    """The places where a run read values, and how drawn numbers decided."""

    reads: tuple[ValueRead, ...] = ()
    """Places of the code that read values from the card; none: nothing was read."""
    data_dependent: DataDependent = DataDependent.TYPICAL
    """How numbers that only a card can compute decided sizes."""
    seeds: tuple[int, ...] = ()
    """Seeds of the runs that widened the interval; none: no drawn number decided anything."""
    parted: tuple[ReadSite, ...] = ()
    """Places where the measured run read other values than the run that computed them."""

    @property
    def state(self) -> ValuesState:
        """Returns none read, known or assumed."""
        return values_state(self.reads)

    @property
    def are_decided(self) -> bool:
        """Returns whether a drawn number decided a size or a branch, or runs read other values."""
        return bool(deciding(self.reads) or self.parted)

    @property
    def line(self) -> str:
        """Returns one line of the report."""
        if self.state is ValuesState.NONE_READ:
            return str(self.state.value)
        count = sum(read.count for read in self.reads)
        places = _number(len({(read.file, read.line) for read in self.reads}), "place")
        said = f"{self.state.value}, {_number(count, 'read')} at {places}"
        if not self.are_decided:
            return said
        return f"{said}; sizes rest on drawn numbers"

    def warnings(self) -> tuple[str, ...]:
        """Returns the reasons to doubt the figures."""
        return (*self._decided(), *self._parted())

    def assumptions(self) -> tuple[str, ...]:
        """Returns a sentence on drawn numbers that decided nothing known to change memory."""
        drawn = [read for read in self.reads if read.assumed and read.decision is Decision.NOTHING]
        if not drawn:
            return ()
        return (
            "numbers that only a card can compute were drawn at random where they were read: "
            f"{_listed([_place(read) for read in drawn])}",
        )

    def _decided(self) -> tuple[str, ...]:
        found = deciding(self.reads)
        if not found:
            return ()
        most = self.data_dependent is DataDependent.MOST
        how = "taken at their most" if most else "drawn at random, as of an untrained net"
        more = "" if most else "; --data-dependent most gives the worst case"
        return (
            f"sizes depend on numbers that only a card can compute, and were {how}: "
            f"{_listed([_decision(read) for read in found])}{more}, "
            "--size-at FILE:LINE=N gives a place the size that you know",
        )

    def _parted(self) -> tuple[str, ...]:
        if not self.parted:
            return ()
        places = [f"{_path(site.file)}:{site.line}" if site.file else _BACKWARD
                  for site in self.parted]  # fmt: skip
        return (
            "the measured run read other values than the run that computed them, at "
            f"{_listed(places)}: its figures may be wrong",
        )

    def to_dict(self) -> ValuesDocument:
        """Returns the entry `values` of a JSON document."""
        return {
            "state": self.state.value,
            "decides_sizes": self.are_decided,
            "data_dependent": self.data_dependent.value,
            "seeds": list(self.seeds),
            "reads": [_read_dict(read) for read in self.reads],
            "parted": [
                {"file": site.file, "line": site.line, "function": site.function}
                for site in self.parted
            ],
        }


NO_VALUES_READ = ValuesResult()


def _read_dict(read: ValueRead) -> ReadDocument:
    return {
        "file": read.file,
        "line": read.line,
        "function": read.function,
        "operator": read.operator,
        "count": read.count,
        "assumed": read.assumed,
        "decision": read.decision.value,
        "smallest": read.smallest,
        "largest": read.largest,
        "possible": None if read.bounds is None else list(read.bounds),
        "size_given": read.is_fixed,
    }


def _decision(read: ValueRead) -> str:
    sizes = ""
    if read.smallest is not None and read.largest is not None:
        sizes = f", {read.smallest}"
        if read.largest != read.smallest:
            sizes += f" to {read.largest}"
    if read.bounds is not None:
        sizes += f" where {read.bounds[0]} to {read.bounds[1]} are possible"
    operator = f" ({read.operator}{sizes})" if read.operator else ""
    return f"{_place(read)}{operator}"


def _place(read: ValueRead) -> str:
    if not read.file:
        return _BACKWARD
    times = f", {read.count} times" if read.count > 1 else ""
    return f"{_path(read.file)}:{read.line} in {read.function}{times}"


def _path(file: str) -> str:
    path = Path(file)
    with suppress(ValueError):  # not under the current folder: the whole path
        path = path.relative_to(Path.cwd())
    return str(path)


def _listed(texts: Sequence[str]) -> str:
    more = len(texts) - _SHOWN
    return "; ".join(texts[:_SHOWN]) + (f"; and {more} more places" if more > 0 else "")


def _number(count: int, word: str) -> str:
    return f"{count:,} {word}{'' if count == 1 else 's'}"
