"""Answers copies from the card to the host, in each of the three passes of values.

In: the device's calls, one for each copy (native/copies.cpp). Out: the copy's bytes; places and
counts. Convention: answers are logged in order for each line of the user's code, so that a later
pass without a dispatch mode gets the same answers.
"""

from __future__ import annotations

import base64
import ctypes
import os
import sys
import time
import zlib
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from types import FrameType

from planner.wire.value_reads import Decision, ReadLog, ReadSite, ValueRead
from planner.worker.engines import emulation
from planner.worker.values import read_sites
from planner.worker.values.answers import Answer, Call, answer_of, unanswered

# Of all reads, as logged. Reads beyond it are answered by zeros in the next pass, and reported as
# assumed.
_LOG_BYTES = 128 << 20
_NOTE_S = 0.5
# Frames that only a values pass has: this module, its mode, what counts above it, torch's callers.
_DISPATCH = (
    "/planner/worker/values/reader.py", "/planner/worker/values/mode.py",
    "/planner/worker/model/compiler.py", "/planner/worker/count/observer.py",
    "/torch/_ops.py", "/torch/utils/_python_dispatch.py", "/torch/_compile.py",
    "/torch/_dynamo/eval_frame.py",
)  # fmt: skip
_Progress = Callable[[ReadSite, int], None]


class Reads:
    """Receives each copy from the card to the host between `start` and `stop`."""

    def __init__(self) -> None:
        kind = ctypes.CFUNCTYPE(None, ctypes.c_size_t, ctypes.c_void_p, ctypes.c_void_p)
        self._callback = kind(self._called)  # kept alive as long as the device may call it

    def start(self) -> None:
        """Starts to answer reads."""
        emulation.on_read(self._callback)

    def stop(self) -> tuple[ValueRead, ...]:
        """Stops answering; returns the places that were read, in order of first reading."""
        emulation.on_read(None)
        return self.reads()

    def reads(self) -> tuple[ValueRead, ...]:
        """Returns the places that were read so far."""
        return ()

    def _called(self, size_bytes: int, destination: int, source: int) -> None:
        """Answers a read; after an exception, which would be lost, it counts as unanswered."""
        try:
            self._on_read(size_bytes, destination, source)
        except Exception:
            self._unanswered(size_bytes)

    def _on_read(self, size_bytes: int, destination: int, source: int) -> None:
        raise NotImplementedError

    def _unanswered(self, size_bytes: int) -> None:
        """Notes a read that could not be answered."""


class UnansweredReads(Reads):
    """Ends the run at the first read that may matter; it must be repeated with values."""

    def __init__(self, on_first: Callable[[], None]) -> None:
        super().__init__()
        self._on_first = on_first

    def _on_read(self, size_bytes: int, destination: int, source: int) -> None:
        if not read_sites.is_harmless(_caller()):
            self._on_first()

    def _unanswered(self, size_bytes: int) -> None:
        os._exit(1)  # better no answer than one that rests on a zero


@dataclass(slots=True)
class _Place:
    count: int = 0
    assumed: int = 0
    decision: Decision = Decision.NOTHING
    numbers: list[int] = field(default_factory=list)  # smallest, largest
    bounds: tuple[int, int] | None = None


_GRAVITY = (Decision.NOTHING, Decision.BRANCH, Decision.SIZE)


class AnsweringReads(Reads):
    """Answers reads of a values pass from known values, and logs each answer."""

    def __init__(self, seed: int, progress: _Progress | None = None) -> None:
        super().__init__()
        self.call: Call | None = None
        self.fixed: set[tuple[str, int]] = set()  # places whose size the caller has given
        self._seed = seed
        self._progress = progress
        self._noted_s = time.monotonic()
        self._sites: dict[ReadSite, int] = {}
        self._site_of: list[int] = []
        self._sizes_bytes: list[int] = []
        self._contents: list[str] = []
        self._kept_bytes = 0
        self._places: dict[tuple[ReadSite, str], _Place] = {}

    def reads(self) -> tuple[ValueRead, ...]:
        """Returns the places that were read so far."""
        return tuple(
            ValueRead(
                file=site.file,
                line=site.line,
                function=site.function,
                operator=operator,
                count=place.count,
                assumed=place.assumed,
                decision=place.decision,
                smallest=min(place.numbers, default=None),
                largest=max(place.numbers, default=None),
                bounds=place.bounds,
                is_fixed=(site.file, site.line) in self.fixed,
            )
            for (site, operator), place in self._places.items()
        )

    def log(self) -> ReadLog:
        """Returns the log of the reads and their answers."""
        return ReadLog(
            sites=tuple(self._sites),
            site_of=tuple(self._site_of),
            sizes_bytes=tuple(self._sizes_bytes),
            contents=tuple(self._contents),
            reads=self.reads(),
            seed=self._seed,
        )

    def _on_read(self, size_bytes: int, destination: int, source: int) -> None:
        frame = _caller()
        answer = answer_of(self.call, size_bytes, source)
        if any(answer.content):
            ctypes.memmove(destination, answer.content, len(answer.content))
        if read_sites.is_harmless(frame):
            return
        site = read_sites.site_of(frame)
        if not self._log(site, size_bytes, answer.content):
            answer.assumed = True
        name = self.call.name if self.call is not None else ""
        place = self._places.setdefault((site, name), _Place())
        _add(place, answer)
        self._tell(site, place.count)

    def _unanswered(self, size_bytes: int) -> None:
        site = ReadSite()
        self._log(site, size_bytes, b"")
        _add(self._places.setdefault((site, ""), _Place()), unanswered())

    def _tell(self, site: ReadSite, count: int) -> None:
        now_s = time.monotonic()
        if self._progress is not None and now_s - self._noted_s >= _NOTE_S:
            self._noted_s = now_s
            self._progress(site, count)

    def _log(self, site: ReadSite, size_bytes: int, content: bytes) -> bool:
        """Logs a read; returns whether there was room for its content."""
        self._site_of.append(self._sites.setdefault(site, len(self._sites)))
        self._sizes_bytes.append(size_bytes)
        text = packed(content)
        has_room = self._kept_bytes + len(text) <= _LOG_BYTES
        self._kept_bytes += len(text) * has_room
        self._contents.append(text if has_room else "")
        return has_room


class LoggedReads(Reads):
    """Answers reads of a memory pass from the log of a values pass."""

    def __init__(self, log: ReadLog) -> None:
        super().__init__()
        self._log = log
        self._waiting: dict[ReadSite, deque[int]] = defaultdict(deque)
        for number, site in enumerate(log.site_of):
            self._waiting[log.sites[site]].append(number)
        self._parted: Counter[ReadSite] = Counter()

    @property
    def parted(self) -> tuple[ReadSite, ...]:
        """The places where this pass read differently from the values pass, or less often."""
        left = (site for site, waiting in self._waiting.items() if waiting)
        return tuple(dict.fromkeys((*self._parted, *left)))

    def reads(self) -> tuple[ValueRead, ...]:
        """Returns the places of the values pass."""
        return self._log.reads

    def _unanswered(self, size_bytes: int) -> None:
        self._parted[ReadSite()] += 1

    def _on_read(self, size_bytes: int, destination: int, source: int) -> None:
        frame = _caller()
        if read_sites.is_harmless(frame):
            return
        site = read_sites.site_of(frame)
        waiting = self._waiting.get(site)
        if not waiting or self._log.sizes_bytes[waiting[0]] != size_bytes:
            self._parted[site] += 1
            return
        content = unpacked(self._log.contents[waiting.popleft()])
        if content:
            ctypes.memmove(destination, content, len(content))


def packed(content: bytes) -> str:
    """Returns the bytes as text for JSON; "" for zeros."""
    return base64.b64encode(zlib.compress(content, 1)).decode() if any(content) else ""


def unpacked(text: str) -> bytes:
    """Returns the bytes of such a text; empty for zeros."""
    return zlib.decompress(base64.b64decode(text)) if text else b""


def _caller() -> FrameType | None:
    """Returns the innermost frame outside of a values pass's own; None in autograd's threads."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.endswith(_DISPATCH):
        frame = frame.f_back
    return frame


def _add(place: _Place, answer: Answer) -> None:
    place.count += 1
    if answer.assumed:
        place.assumed += 1
        place.decision = max(place.decision, answer.decision, key=_GRAVITY.index)
    if answer.number is not None:
        numbers = [*place.numbers, answer.number]
        place.numbers = [min(numbers), max(numbers)]
    if answer.bounds is not None:
        low, high = place.bounds or answer.bounds
        place.bounds = (min(low, answer.bounds[0]), max(high, answer.bounds[1]))
