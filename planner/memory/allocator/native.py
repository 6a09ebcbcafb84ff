"""Calls the replay in native code: the figures of allocator.py, a hundred times as fast.

In: packed requests, settings, a card. Out: the figures and how the replay ended; None where it has
to be done in Python: there is no library, or a figure may need more than 63 bits. Convention: the
structures are those of settings.h and replay.cpp in emulator/native/replay.
"""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Sequence
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from planner.emulator.replay_library import library
from planner.memory.allocator.requests import PackedRequests
from planner.memory.allocator.settings import ROUNDUP_INTERVALS, AllocatorSettings, TieBreak

_WITHOUT_LIMIT_BYTES = 1 << 61  # kWithoutLimitBytes
_LARGEST_SEGMENT_BYTES = 1 << 50
_WEIGHT_BITS = 60
_TIE_BREAKS = (TieBreak.LOWEST_ADDRESS, TieBreak.OLDEST_BLOCK, TieBreak.OLDEST_SEGMENT)

if TYPE_CHECKING:
    _Words = array[int]


class Ending(IntEnum):
    """How a replay in native code ended."""

    SERVED = 0  # every request
    OUT_OF_MEMORY = 1
    LIVE_ALLOCATED = 2  # a block that is live
    NOT_LIVE_FREED = 3  # a block that is not
    NOT_COMPUTED = 4


class _Requests(ctypes.Structure):
    _fields_ = (
        ("count", ctypes.c_int64),
        ("names", ctypes.c_int64),
        ("kinds", ctypes.c_char_p),
        ("blocks", ctypes.c_void_p),
        ("sizes_bytes", ctypes.c_void_p),
        ("streams", ctypes.c_void_p),
        ("optional", ctypes.c_char_p),
    )


class _Settings(ctypes.Structure):
    _fields_ = (
        ("capacity_bytes", ctypes.c_int64),
        ("large_segment_bytes", ctypes.c_int64),
        ("max_split_bytes", ctypes.c_int64),
        ("max_non_split_rounding_bytes", ctypes.c_int64),
        ("allowed_bytes", ctypes.c_int64),
        ("reject_above_bytes", ctypes.c_int64),
        ("collect_above_bytes", ctypes.c_int64),
        ("segment_addresses_bytes", ctypes.c_int64),
        ("roundup_divisions", ctypes.c_int32 * ROUNDUP_INTERVALS),
        ("rounds_up", ctypes.c_int32),
        ("has_expandable_segments", ctypes.c_int32),
        ("tie_break", ctypes.c_int32),
    )


class Figures(ctypes.Structure):
    """Figures at the end of a replay, in bytes; `index` is that of the request that ended it."""

    _fields_ = (
        ("peak_allocated_bytes", ctypes.c_int64),
        ("peak_active_bytes", ctypes.c_int64),
        ("peak_reserved_bytes", ctypes.c_int64),
        ("allocated_bytes", ctypes.c_int64),
        ("reserved_bytes", ctypes.c_int64),
        ("alloc_retries", ctypes.c_int64),
        ("index", ctypes.c_int64),
    )
    if TYPE_CHECKING:  # ctypes makes the attributes from _fields_
        peak_allocated_bytes: int
        peak_active_bytes: int
        peak_reserved_bytes: int
        allocated_bytes: int
        reserved_bytes: int
        alloc_retries: int
        index: int


def replayed(
    requests: PackedRequests,
    settings: AllocatorSettings,
    *,
    capacity_bytes: int,
    total_memory_bytes: int,
) -> tuple[Ending, Figures] | None:
    """Replays the requests on an empty card; the settings' backend is PyTorch's own."""
    native = library()
    native_settings = (
        None
        if native is None
        else _settings(
            settings, capacity_bytes=capacity_bytes, total_memory_bytes=total_memory_bytes
        )
    )
    if native is None or native_settings is None:
        return None
    native_requests = _Requests(
        len(requests.kinds),
        len(requests.names),
        requests.kinds,
        _address(requests.blocks),
        _address(requests.sizes_bytes),
        _address(requests.streams),
        requests.optional,
    )
    figures = Figures()
    ending = Ending(
        native.planner_replay(
            ctypes.byref(native_requests), ctypes.byref(native_settings), ctypes.byref(figures)
        )
    )
    return None if ending is Ending.NOT_COMPUTED else (ending, figures)


def scaled_sizes(
    sizes_bytes: _Words,
    places: _Words,
    columns: Sequence[_Words],
    weights: Sequence[int],
    whole: int,
) -> _Words | None:
    """Returns a copy of `sizes_bytes` with new sizes at `places`, as scaling.py computes them.

    A new size is the weighted sum of the columns' entries, divided by `whole` and rounded up, and
    at least 0.
    """
    native = library()
    if native is None or max(map(abs, (*weights, whole))) >> _WEIGHT_BITS:
        return None
    found = sizes_bytes[:]
    pointers = (ctypes.c_void_p * len(columns))(*map(_address, columns))
    numbers = (ctypes.c_int64 * len(columns))(*weights)
    ending = native.planner_scale(
        ctypes.c_int64(len(places)),
        ctypes.c_void_p(_address(places)),
        len(columns),
        pointers,
        numbers,
        ctypes.c_int64(whole),
        ctypes.c_void_p(_address(found)),
    )
    return found if ending == Ending.SERVED else None


def _address(words: _Words) -> int:
    return words.buffer_info()[0]


def _settings(
    settings: AllocatorSettings, *, capacity_bytes: int, total_memory_bytes: int
) -> Any | None:
    """Returns the settings for one card; None where a figure is too large for a sum in 63 bits."""
    allowed = settings.allowed_bytes(total_memory_bytes)
    rejects = settings.reject_above_fraction and allowed is None
    collects = allowed is not None and settings.garbage_collection_threshold > 0
    addresses = (
        settings.segment_addresses_bytes(total_memory_bytes) if settings.expandable_segments else 0
    )
    if addresses >= _WITHOUT_LIMIT_BYTES or settings.large_segment_bytes > _LARGEST_SEGMENT_BYTES:
        return None
    above = int(settings.garbage_collection_threshold * allowed) if collects and allowed else 0
    return _Settings(
        capacity_bytes=_limited(capacity_bytes),
        large_segment_bytes=settings.large_segment_bytes,
        max_split_bytes=_limited(settings.max_split_bytes or None),
        max_non_split_rounding_bytes=_limited(settings.max_non_split_rounding_bytes),
        allowed_bytes=_limited(allowed),
        reject_above_bytes=_limited(total_memory_bytes if rejects else None),
        collect_above_bytes=_limited(above) if collects else -1,
        segment_addresses_bytes=addresses,
        roundup_divisions=settings.roundup_divisions,
        rounds_up=any(divisions > 1 for divisions in settings.roundup_divisions),
        has_expandable_segments=settings.expandable_segments,
        tie_break=_TIE_BREAKS.index(settings.tie_break),
    )


def _limited(size_bytes: int | None) -> int:
    """Returns the limit as the native code has it; every larger one acts like none."""
    if size_bytes is None:
        return _WITHOUT_LIMIT_BYTES
    return max(-_WITHOUT_LIMIT_BYTES, min(size_bytes, _WITHOUT_LIMIT_BYTES))
