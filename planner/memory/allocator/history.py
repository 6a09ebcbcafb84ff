"""Records what the replayed allocator does: addresses of blocks, and segments taken and given back.

In: calls of CachingAllocator. Out: History. Convention: the actions are those that
torch.cuda.memory._record_memory_history() records; a block counts with all bytes that the allocator
took. Addresses are those of device_memory.py: below 0, the first segment ends at 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from planner.memory.allocator.allocator import CachingAllocator, PendingFree
from planner.memory.allocator.blocks import Block, FreeBlocks
from planner.memory.allocator.settings import AllocatorSettings


class Action(str, Enum):
    """A kind of action, in the words of torch's snapshots."""

    ALLOC = "alloc"
    """A block is taken."""
    FREE_REQUESTED = "free_requested"
    """The program returns a block."""
    FREE_COMPLETED = "free_completed"
    """The block can be used again."""
    SEGMENT_ALLOC = "segment_alloc"
    """The driver gives a segment (cudaMalloc)."""
    SEGMENT_FREE = "segment_free"
    """A segment goes back to the driver (cudaFree)."""
    SEGMENT_MAP = "segment_map"
    """An expandable segment gets memory for some of its addresses."""
    SEGMENT_UNMAP = "segment_unmap"
    """An expandable segment gives memory back."""


class BlockState(str, Enum):
    """The state of a block, in the words of torch's snapshots."""

    LIVE = "active_allocated"
    """The program has it."""
    PENDING = "active_pending_free"
    """The program has returned it, and another stream still uses it."""
    FREE = "inactive"
    """It can be used again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AllocatorAction:
    """One action of the allocator."""

    kind: Action
    """The kind of the action."""
    request: int
    """Index of the request that caused it, from 0 on."""
    allocation: int | None
    """Index of the request that allocated the block; None: the action is of a segment."""
    address: int
    """First byte."""
    size_bytes: int
    """Bytes of the block, segment or part of a segment."""
    stream: int
    """Number of the CUDA stream."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedBlock:
    """A block of a segment at the end of the replay."""

    address: int
    """First byte."""
    size_bytes: int
    """All its bytes."""
    state: BlockState
    """Whether the program has it."""
    allocation: int | None
    """Index of the request that allocated it; None: it is free."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedSegment:
    """A segment at the end of the replay, or a part of an expandable one that has memory."""

    address: int
    """First byte."""
    size_bytes: int
    """Bytes of all its blocks."""
    stream: int
    """Number of the CUDA stream that it serves."""
    is_small: bool
    """It is of the pool for requests of at most 1 MiB."""
    is_expandable: bool
    """It is a part of an expandable segment."""
    blocks: tuple[PlacedBlock, ...]
    """Its blocks, by address, without gaps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """All actions of a replay, in order, and the segments that are left at its end."""

    actions: tuple[AllocatorAction, ...]
    """The actions."""
    segments: tuple[PlacedSegment, ...]
    """The segments, by address."""


class RecordingAllocator(CachingAllocator):
    """A CachingAllocator that keeps a History. The caller counts `request` up.

    Raises:
        UsageError: as CachingAllocator.
    """

    def __init__(
        self,
        settings: AllocatorSettings,
        *,
        capacity_bytes: int,
        total_memory_bytes: int | None = None,
    ) -> None:
        super().__init__(
            settings, capacity_bytes=capacity_bytes, total_memory_bytes=total_memory_bytes
        )
        self.request = -1
        self._actions: list[AllocatorAction] = []
        self._allocated: dict[int, tuple[Block, int]] = {}  # by id: blocks that are in use
        self._waiting: set[int] = set()  # ids of those that the program has returned
        if self._expandable is not None:
            self._expandable.on_change = self._mapped

    def history(self) -> History:
        """Returns what has been done so far."""
        blocks = [block for home in self._homes.values() for block in home.blocks]
        blocks += [block for block, _ in self._allocated.values()]
        heads = [one for one in blocks if one.previous is None or not one.previous.mapped]
        heads.sort(key=lambda one: one.address)
        return History(actions=tuple(self._actions), segments=tuple(map(self._segment, heads)))

    def allocate(self, size_bytes: int, stream: int = 0) -> Block | None:
        """Serves a request, and records its block."""
        block = super().allocate(size_bytes, stream)
        if block is not None:
            self._allocated[id(block)] = block, self.request
            self._note(Action.ALLOC, block)
        return block

    def free(self, block: Block) -> None:
        """Takes back a block, and records it."""
        self._note(Action.FREE_REQUESTED, block)
        super().free(block)

    def request_free(self, block: Block) -> PendingFree:
        """Records that the program freed a block that another stream still uses."""
        self._note(Action.FREE_REQUESTED, block)
        self._waiting.add(id(block))
        return super().request_free(block)

    def _free(self, block: Block) -> None:
        self._note(Action.FREE_COMPLETED, block)
        self._allocated.pop(id(block))
        self._waiting.discard(id(block))
        super()._free(block)

    def _grow(self, home: FreeBlocks, size: int, segment: int) -> Block | None:
        block = super()._grow(home, size, segment)
        if block is not None and self._expandable is None:
            self._of_segment(Action.SEGMENT_ALLOC, home, block.address, block.size_bytes)
        return block

    def _release(self, block: Block) -> None:
        self._of_segment(Action.SEGMENT_FREE, block.home, block.address, block.size_bytes)
        super()._release(block)

    def _mapped(self, has_memory: bool, home: FreeBlocks, address: int, size_bytes: int) -> None:
        kind = Action.SEGMENT_MAP if has_memory else Action.SEGMENT_UNMAP
        self._of_segment(kind, home, address, size_bytes)

    def _note(self, kind: Action, block: Block) -> None:
        self._actions.append(
            AllocatorAction(
                kind=kind,
                request=self.request,
                allocation=self._allocated[id(block)][1],
                address=block.address,
                size_bytes=block.size_bytes,
                stream=block.home.stream,
            )
        )

    def _of_segment(self, kind: Action, home: FreeBlocks, address: int, size_bytes: int) -> None:
        self._actions.append(
            AllocatorAction(
                kind=kind,
                request=self.request,
                allocation=None,
                address=address,
                size_bytes=size_bytes,
                stream=home.stream,
            )
        )

    def _segment(self, head: Block) -> PlacedSegment:
        blocks: list[PlacedBlock] = []
        block: Block | None = head
        while block is not None and block.mapped:
            blocks.append(self._placed(block))
            block = block.next
        return PlacedSegment(
            address=head.address,
            size_bytes=sum(one.size_bytes for one in blocks),
            stream=head.home.stream,
            is_small=head.home.is_small,
            is_expandable=self._expandable is not None,
            blocks=tuple(blocks),
        )

    def _placed(self, block: Block) -> PlacedBlock:
        found = self._allocated.get(id(block))
        state = BlockState.FREE
        if found is not None:
            state = BlockState.PENDING if id(block) in self._waiting else BlockState.LIVE
        return PlacedBlock(
            address=block.address,
            size_bytes=block.size_bytes,
            state=state,
            allocation=None if found is None else found[1],
        )
