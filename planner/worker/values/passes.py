"""One pass of values over a run: the answers to the card's copies to the host, and the mode.

In: ValuesRequest, and an action for a read that needs values. Out: a context around the run, and
its reads. Convention: the run that is measured has no dispatch mode: even an empty mode changes the
memory that PyTorch's allocator reserves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from planner.wire.value_reads import ReadLog, ReadSite, ValueRead, ValuesPass, ValuesRequest
from planner.worker.engines import emulation
from planner.worker.values import launches
from planner.worker.values.drawing import Drawing
from planner.worker.values.mode import ValuesMode
from planner.worker.values.reader import AnsweringReads, LoggedReads, Reads, UnansweredReads
from planner.worker.values.sizes import FixedSizes

Progress = Callable[[ReadSite, int], None]


@dataclass(slots=True, kw_only=True)
class PassOfValues:
    """The treatment of values in one run. Made once for a process."""

    reads: Reads
    mode: ValuesMode | None = None

    @contextmanager
    def active(self) -> Iterator[None]:
        """Answers reads within the context and, in a values pass, keeps values."""
        self.reads.start()
        try:
            if self.mode is None:
                yield
            else:
                with launches.watched(), self.mode:
                    yield
        finally:
            self.reads.stop()

    def value_reads(self) -> tuple[ValueRead, ...]:
        """Returns the places that were read."""
        return self.reads.reads()

    def log(self) -> ReadLog | None:
        """Returns the log of a values pass; None for the other passes."""
        return self.reads.log() if isinstance(self.reads, AnsweringReads) else None

    def parted(self) -> tuple[ReadSite, ...]:
        """Returns places where a memory pass read differently from the values pass."""
        return self.reads.parted if isinstance(self.reads, LoggedReads) else ()


def pass_of_values(
    request: ValuesRequest, on_first_read: Callable[[], None], progress: Progress | None = None
) -> PassOfValues:
    """Returns the requested pass; `on_first_read` is only for a pass without values."""
    if request.kind is ValuesPass.ANSWERED:
        return PassOfValues(reads=LoggedReads(request.log or ReadLog()))
    if request.kind is ValuesPass.UNANSWERED:
        return PassOfValues(reads=UnansweredReads(on_first_read))
    emulation.keep_sent()
    reads = AnsweringReads(request.seed, progress)
    mode = ValuesMode(
        reads,
        Drawing(request.seed),
        data_dependent=request.data_dependent,
        sizes=FixedSizes({(one.file, one.line): one.size for one in request.size_at}),
    )
    return PassOfValues(reads=reads, mode=mode)
