"""From requests to events with a meaning: category, phase, origin.

In: the allocator's history, and notes by position in it. Out: AllocationTrace. Convention: the
holder of memory decides its category; without a holder, its lifetime decides.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from planner.wire.trace import (
    FREES,
    AllocationEvent,
    AllocationTrace,
    EventKind,
    Origin,
    Phase,
    StageMark,
    TensorCategory,
)
from planner.worker.record.allocator_history import History, TracedRequest, block_numbers
from planner.worker.record.holders import Holding
from planner.worker.record.module_calls import ModuleCall
from planner.worker.record.operator_sites import Site, SiteRequest
from planner.worker.record.rounds import rounds_at

# Operators in which cuBLAS and cuDNN request a workspace from PyTorch.
_LIBRARY_WORDS = ("conv", "cudnn", "mm", "matmul", "mv", "dot", "linear", "rnn", "lstm", "gru")
# Precedence if several hold the same storage: a parameter stays one, whoever else holds it.
_PRECEDENCE = (
    TensorCategory.PARAMETER,
    TensorCategory.BUFFER,
    TensorCategory.OPTIMIZER_STATE,
    TensorCategory.INPUT,  # before a sparse gradient, whose indices may be those of the batch
    TensorCategory.GRADIENT,
    TensorCategory.CACHE,
)
# Workspace that torch gives cuBLAS (up to 2.14 for good): below compute capability 9, and from 9.
_CUBLAS_BYTES = (8_519_680, 32 << 20)
_FORWARD = (Phase.FORWARD, Phase.LOSS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """The beginning of a phase of a step, at `position`."""

    position: int
    step: int
    phase: Phase


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """The beginning of a stage of a pipeline, at `position`."""

    position: int
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """The memory that was held at `position`."""

    position: int
    holdings: tuple[Holding, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """The observations of one run.

    `end` is the position at the last step's end. From the position `sites_begin` on, `sites` holds
    every allocation; `built_bytes` are the sizes of the blocks that are live there, by address.
    With `owns_step` the user's own code steps the optimizers. `rounds` are positions at which a
    loop that writes tokens begins a round, in each step.
    """

    history: History
    end: int
    sites_begin: int = 0
    built_bytes: Mapping[int, int] = field(default_factory=dict)
    marks: Sequence[Mark] = ()
    notes: Sequence[Note] = ()
    sites: Sequence[SiteRequest] = ()
    calls: Sequence[ModuleCall] = ()
    owns_step: bool = False
    rounds: Sequence[Sequence[int]] = ()
    stages: Sequence[Stage] = ()


_BUILD = Mark(position=0, step=0, phase=Phase.BUILD)


@dataclass(slots=True, kw_only=True, eq=False)
class _Block:
    number: int
    address: int
    begin: int  # position
    size_bytes: int
    block_bytes: int = 0
    source: str = ""
    inherited: bool = False
    end: int | None = None
    holdings: list[Holding] = field(default_factory=list)
    seen: SiteRequest | None = None


def attribute(recording: Observed) -> AllocationTrace:
    """Returns the trace of the run, each event with its category, phase and origin."""
    requests = recording.history.until(recording.end)
    blocks = _blocks(requests, recording.history.inherited)
    _match_sites(blocks, recording)
    _apply_notes(requests, blocks, recording.notes)
    return _Meaning(recording).trace(requests, blocks)


def _blocks(requests: Sequence[TracedRequest], inherited: int) -> list[_Block | None]:
    """Returns the block of each request; None if it has none."""
    made: dict[int, _Block] = {}
    found: list[_Block | None] = []
    position = 0
    for request, number in zip(requests, block_numbers(requests), strict=True):
        if number is not None and request.kind is EventKind.ALLOC:
            made[number] = _Block(
                number=number,
                address=request.address,
                begin=position,
                size_bytes=request.size_bytes,
                source=request.source,
                inherited=position < inherited,
            )
        block = None if number is None else made[number]
        found.append(block)
        if request.kind in FREES and block is not None:
            block.end = position
        position += request.kind not in (EventKind.FREE_COMPLETED, EventKind.EMPTY_CACHE)
    return found


def _match_sites(blocks: Sequence[_Block | None], recording: Observed) -> None:
    """Matches sites with blocks by address and order; skips an address if their numbers differ."""
    there: dict[int, list[_Block]] = defaultdict(list)
    for block in dict.fromkeys(blocks):
        if block is None:
            continue
        if block.begin >= recording.sites_begin:
            there[block.address].append(block)
        elif block.end is None or block.end >= recording.sites_begin:
            block.block_bytes = recording.built_bytes.get(block.address, 0)
    here: dict[int, list[SiteRequest]] = defaultdict(list)
    for request in recording.sites:
        here[request.address].append(request)
    for address, requests in here.items():
        if len(requests) != len(there[address]):  # a thread of the user's that no profile reaches
            continue
        for block, request in zip(there[address], requests, strict=True):
            block.seen = request
            block.block_bytes = request.block_bytes
            request.site.source = request.site.source or block.source


def _apply_notes(
    requests: Sequence[TracedRequest], blocks: Sequence[_Block | None], notes: Sequence[Note]
) -> None:
    live: dict[int, _Block] = {}
    waiting = list(reversed(notes))
    position = 0

    def settle() -> None:
        while waiting and waiting[-1].position <= position:
            for holding in waiting.pop().holdings:
                if holding.address in live and holding not in live[holding.address].holdings:
                    live[holding.address].holdings.append(holding)

    for request, block in zip(requests, blocks, strict=True):
        settle()
        if request.kind is EventKind.ALLOC and block is not None:
            live[request.address] = block
        elif request.kind in FREES:
            live.pop(request.address, None)
        position += request.kind not in (EventKind.FREE_COMPLETED, EventKind.EMPTY_CACHE)
    settle()


class _Meaning:
    """Names the blocks of one recording."""

    def __init__(self, recording: Observed) -> None:
        self._end = recording.end
        self._rounds = recording.rounds
        self._places = recording.history.places[: recording.end]
        self._calls = recording.calls
        # where the model's code, or that of the user's step, may keep what it makes
        self._users = (*_FORWARD, Phase.OPTIMIZER_STEP) if recording.owns_step else _FORWARD
        self._marks = sorted(recording.marks, key=lambda mark: mark.position)
        self._positions = [mark.position for mark in self._marks]
        self._steps = [mark.step for mark in self._marks]
        self._last_step = max((m.step for m in self._marks if m.position < self._end), default=0)
        self._origins: dict[Origin, int] = {Origin(): 0}
        self._stages = recording.stages

    def trace(
        self, requests: Sequence[TracedRequest], blocks: Sequence[_Block | None]
    ) -> AllocationTrace:
        """Returns an event for each request; a block's end has the meaning of its beginning."""
        named = {b: self._name(b) for b in dict.fromkeys(blocks) if b is not None}
        events: list[AllocationEvent] = []
        before = []
        waiting, stages = list(reversed(self._stages)), []
        position = 0
        for request, block in zip(requests, blocks, strict=True):
            before.append(len(events))
            while waiting and waiting[-1].position <= position:
                stages.append(StageMark(event=len(events), stage=waiting.pop().name))
            mark = self._mark(position)
            position += request.kind not in (EventKind.FREE_COMPLETED, EventKind.EMPTY_CACHE)
            if block is None:
                if request.kind is EventKind.EMPTY_CACHE:
                    events.append(AllocationEvent(
                        kind=request.kind, block=0, size_bytes=0, step=mark.step, phase=mark.phase
                    ))  # fmt: skip
                continue
            category, origin = named[block]
            events.append(
                AllocationEvent(
                    kind=request.kind,
                    block=block.number,
                    size_bytes=block.size_bytes,
                    block_bytes=block.block_bytes,
                    stream=request.stream,
                    step=mark.step,
                    phase=mark.phase,
                    category=category,
                    origin=origin,
                )
            )
        before.append(len(events))
        return AllocationTrace(
            events=tuple(events),
            origins=tuple(self._origins),
            rounds=rounds_at(self._rounds, self._places, before),
            stages=tuple(stages),
        )

    def _name(self, block: _Block) -> tuple[TensorCategory, int]:
        holdings = _foremost(block.holdings)
        category = holdings[0].category if holdings else self._category(block)
        origin = self._origin(block, holdings)
        return category, self._origins.setdefault(origin, len(self._origins))

    def _category(self, block: _Block) -> TensorCategory:
        """Returns the category of a block without a known holder."""
        made = self._mark(block.begin)
        stays = self._stays(block, made)
        if block.seen is not None and any(word in block.seen.inner for word in _LIBRARY_WORDS):
            unclear = block.end is None and made.step == self._last_step
            if block.seen.scratch or stays or (unclear and block.size_bytes in _CUBLAS_BYTES):
                return TensorCategory.WORKSPACE
        if made.phase is Phase.BUILD and stays and not block.source and not block.inherited:
            return TensorCategory.WORKSPACE  # torch itself keeps it: cuDNN's dropout state
        if made.phase in self._users and stays:
            return TensorCategory.BUFFER  # the user's code keeps it without registering it
        if made.phase in _FORWARD and self._alive_in_backward(block, made):
            return TensorCategory.SAVED_ACTIVATION
        return TensorCategory.UNATTRIBUTED if stays else TensorCategory.TEMPORARY

    def _stays(self, block: _Block, made: Mark) -> bool:
        """Returns whether a block lives through the next step, or from the build into the first."""
        if made.step == self._last_step:
            return False
        through = made.step + 1 if made.step else 0
        after = bisect_right(self._steps, through)
        limit = self._positions[after] if after < len(self._positions) else self._end
        return block.end is None or block.end >= limit

    def _alive_in_backward(self, block: _Block, made: Mark) -> bool:
        for mark in self._marks[bisect_right(self._positions, block.begin) :]:
            if mark.step != made.step:
                return False
            if mark.phase is Phase.BACKWARD:
                return block.end is None or block.end >= mark.position
        return False

    def _origin(self, block: _Block, holdings: Sequence[Holding]) -> Origin:
        site = block.seen.site if block.seen else Site()
        call = None if site.call is None else self._calls[site.call]
        lines = (block.source, site.source, site.forward.source if site.forward else "")
        return Origin(
            module=_common([holding.module for holding in holdings])
            if holdings
            else call.path
            if call
            else "",
            tensor=_shared([holding.tensor for holding in holdings]),
            operator=site.operator,
            source=next((line for line in lines if line), call.source if call else ""),
        )

    def _mark(self, position: int) -> Mark:
        index = bisect_right(self._positions, position) - 1
        return self._marks[index] if index >= 0 else _BUILD


def _foremost(holdings: Sequence[Holding]) -> list[Holding]:
    for category in _PRECEDENCE:
        found = [holding for holding in holdings if holding.category is category]
        if found:
            return found
    return []


def _common(paths: Sequence[str]) -> str:
    """Returns the innermost module that contains all; the first one's for tied weights."""
    first, *rest = dict.fromkeys(paths)
    parts = first.split(".")
    for path in rest:
        others = path.split(".")
        parts = [a for a, b in zip(parts, others, strict=False) if a == b]
    return ".".join(parts)


def _shared(names: Sequence[str]) -> str:
    return names[0] if len(set(names)) == 1 else ""
