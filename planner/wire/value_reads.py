"""Values that a run reads from the card: their places, decisions and contents.

In: nothing. Out: ValueRead, ReadLog, ValuesRequest. Convention: a value is *known* if it was
computed only from values that the host sent; a value that a kernel of the card computed is
*assumed*: drawn once at random where it is ranked, compared or read.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from planner.config.step import DataDependent, SizeAt


class ValuesPass(str, Enum):
    """The treatment of values in a run on the emulated card."""

    UNANSWERED = "unanswered"  # keeps none; the first read that may matter ends the run
    VALUES = "values"  # keeps them, answers reads from them and logs each answer
    ANSWERED = "answered"  # keeps none; reads are answered from the log of a values pass


class ValuesState(str, Enum):
    """The dependence of a run's figures on values."""

    NONE_READ = "none read"
    """No value was read: nothing depends on any."""
    KNOWN = "known"
    """Every value that was read is the true value."""
    ASSUMED = "assumed"
    """Some reads gave drawn numbers."""


class Decision(str, Enum):
    """The kind of decision that a read can make."""

    NOTHING = "nothing"
    """Nothing: a floating-point number, shown or logged."""
    SIZE = "size"
    """The size of a tensor, or a whole number that may become one."""
    BRANCH = "branch"
    """True or False."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadSite:
    """A line of the user's code."""

    file: str = ""
    """Its file; "": no line of Python is known, as in backward."""
    line: int = 0
    """Its line number; 0: not known."""
    function: str = ""
    """Function around it; "": not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueRead:
    """A place that read values of the card."""

    file: str
    """Its file; "": no line of Python is known, as in backward."""
    line: int
    """Its line number; 0: not known."""
    function: str
    """Function around it; "": not known."""
    count: int
    """Number of reads."""
    operator: str = ""
    """As torch names it; "": not known."""
    assumed: int = 0
    """Reads whose value was not known."""
    decision: Decision = Decision.NOTHING
    """The kind of decision that the assumed reads can make."""
    smallest: int | None = None
    """Smallest size or whole number read; None: only other values were read."""
    largest: int | None = None
    """Largest size or whole number read; None: only other values were read."""
    bounds: tuple[int, int] | None = None
    """Smallest and largest possible size; None: not known."""
    is_fixed: bool = False
    """The caller gave the size (`size_at`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadLog:
    """The results of the reads of a values pass, in order.

    Entry i of each column belongs to read i: its site (an index into `sites`), its size, and its
    bytes, compressed, in base64 ("" where they were zeros or too many to keep). `reads` sums up
    the places. `seed` is the seed of the assumed values.
    """

    sites: tuple[ReadSite, ...] = ()
    site_of: tuple[int, ...] = ()
    sizes_bytes: tuple[int, ...] = ()
    contents: tuple[str, ...] = ()
    reads: tuple[ValueRead, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        columns = (self.site_of, self.sizes_bytes, self.contents)
        if len({len(column) for column in columns}) > 1:
            raise ValueError(f"columns of {', '.join(str(len(c)) for c in columns)} entries")


@dataclass(frozen=True, slots=True, kw_only=True)
class ValuesRequest:
    """The requested treatment of values. `log` is only for ANSWERED, the others for VALUES."""

    kind: ValuesPass = ValuesPass.UNANSWERED
    seed: int = 0
    data_dependent: DataDependent = DataDependent.TYPICAL
    size_at: tuple[SizeAt, ...] = ()
    log: ReadLog | None = None


def values_state(reads: Iterable[ValueRead]) -> ValuesState:
    """Returns the state of these reads: none, all known, or some assumed."""
    found = tuple(reads)
    if not found:
        return ValuesState.NONE_READ
    return ValuesState.ASSUMED if any(read.assumed for read in found) else ValuesState.KNOWN


def deciding(reads: Iterable[ValueRead]) -> tuple[ValueRead, ...]:
    """Returns the reads in which a drawn number decided a size or a branch."""
    return tuple(
        read
        for read in reads
        if read.assumed and not read.is_fixed and read.decision is not Decision.NOTHING
    )
