"""Reads PYTORCH_CUDA_ALLOC_CONF as one version of torch reads it.

In: the text and the version. Out: AllocatorSettings. Convention: a text that torch refuses is a
UsageError that names the option; options that do not affect memory are checked and ignored.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

from planner.errors import UsageError
from planner.memory.allocator.option_values import (
    Value,
    is_power_of_two,
    number,
    pairs,
    single,
    split_options,
    switch,
    whole_number,
)
from planner.memory.allocator.settings import (
    DEFAULT_LARGE_SEGMENT_BYTES,
    LARGE_REQUEST_BYTES,
    LARGE_ROUNDING_BYTES,
    ROUNDUP_INTERVALS,
    AllocatorSettings,
    Backend,
    TorchVersion,
)
from planner.units import GIB, MIB

_LARGE_SEGMENT = "large_segment_size_mb"
_LARGEST_RESERVE = 1e9  # of either unit: beyond any card
_MAX_REGISTER_THREADS = 128


class UnknownOptionError(UsageError):
    """This version of torch does not have the option, as far as is known.

    `may_be_newer`: the version is newer than all versions whose options are known here.
    """

    def __init__(self, message: str, *, may_be_newer: bool) -> None:
        super().__init__(message)
        self.may_be_newer = may_be_newer


Reader: TypeAlias = Callable[[AllocatorSettings, str, Value], AllocatorSettings]


def parse_alloc_conf(text: str | None, torch_version: str) -> AllocatorSettings:
    """Reads `text`, e.g. "expandable_segments:True", as `torch_version` does.

    Raises:
        UsageError: this version does not know an option or refuses its value, or two options
        contradict each other.
    """
    settings = AllocatorSettings(version=TorchVersion.parse(torch_version))
    options = split_options(text or "")
    for name, _ in options:
        _check_known(name, settings.version)
    # As in torch, the segment size is read first, wherever it stands: others depend on it.
    for name, value in sorted(options, key=lambda option: option[0] != _LARGE_SEGMENT):
        settings = _READERS[name](settings, name, value)
    return _checked_together(settings)


def _check_known(name: str, version: TorchVersion) -> None:
    since = _SINCE.get(name)
    if since is not None and version.at_least(*since):
        return
    known = sorted(other for other, first in _SINCE.items() if version.at_least(*first))
    detail = f" (it came with {since[0]}.{since[1]})" if since else ""
    newest = max(_SINCE.values())
    raise UnknownOptionError(
        f"torch {version} has no allocator option {name!r}{detail}; it knows {', '.join(known)}",
        may_be_newer=version.at_least(newest[0], newest[1] + 1),
    )


def _checked_together(settings: AllocatorSettings) -> AllocatorSettings:
    if settings.expandable_segments and settings.large_segment_bytes % LARGE_ROUNDING_BYTES:
        raise UsageError(
            f"{_LARGE_SEGMENT} of {settings.large_segment_bytes // MIB} contradicts "
            "expandable_segments: the driver maps memory in pages of 2 MiB; take an even number"
        )
    return settings


def _read_large_segment(settings: AllocatorSettings, name: str, value: Value) -> AllocatorSettings:
    size_bytes = whole_number(name, single(name, value)) * MIB
    if size_bytes <= LARGE_REQUEST_BYTES:
        raise UsageError(f"allocator option {name} must be above {LARGE_REQUEST_BYTES // MIB}")
    return replace(
        settings, large_segment_bytes=size_bytes, max_non_split_rounding_bytes=size_bytes
    )


def _above_segment(settings: AllocatorSettings, name: str, value: Value) -> int:
    """Reads an option in MiB that may not be below the size of a large segment; returns bytes."""
    size_bytes = whole_number(name, single(name, value)) * MIB
    least, strict = settings.large_segment_bytes, not settings.version.at_least(2, 10)
    if size_bytes < least or (strict and size_bytes == least):
        word = "above" if strict else "at least"
        of = f" ({_LARGE_SEGMENT})" if least != DEFAULT_LARGE_SEGMENT_BYTES else ""
        raise UsageError(
            f"allocator option {name}:{value[0]} is refused by torch {settings.version}: "
            f"it must be {word} {least // MIB}{of}"
        )
    return size_bytes


def _read_max_split(settings: AllocatorSettings, name: str, value: Value) -> AllocatorSettings:
    if value == ["-1"]:  # as memory_stats() shows it where the option is not set
        return replace(settings, max_split_bytes=None)
    return replace(settings, max_split_bytes=_above_segment(settings, name, value))


def _read_max_rounding(settings: AllocatorSettings, name: str, value: Value) -> AllocatorSettings:
    return replace(settings, max_non_split_rounding_bytes=_above_segment(settings, name, value))


def _read_threshold(settings: AllocatorSettings, name: str, value: Value) -> AllocatorSettings:
    threshold = number(name, single(name, value))
    if not 0 < threshold < 1:
        raise UsageError(f"allocator option {name} must be above 0 and below 1, not {value[0]}")
    return replace(settings, garbage_collection_threshold=threshold)


def _read_roundup(settings: AllocatorSettings, name: str, value: Value) -> AllocatorSettings:
    if value[0] != "[":
        divisions = whole_number(name, single(name, value))
        if not is_power_of_two(divisions):
            raise UsageError(f"allocator option {name} takes a power of two, not {value[0]}")
        return replace(settings, roundup_divisions=(divisions,) * ROUNDUP_INTERVALS)
    return replace(settings, roundup_divisions=_roundup_list(settings, name, value))


def _roundup_list(settings: AllocatorSettings, name: str, value: Value) -> tuple[int, ...]:
    """Reads one entry per power of two from "[256:1,512:2,>:8]"; the bounds are in MiB."""
    divisions, last = [0] * ROUNDUP_INTERVALS, 0
    # Where ">" begins: before torch 2.10 it also overwrote the last bound named.
    beyond = 1 if settings.version.at_least(2, 10) else 0
    for index, item in enumerate(pairs(name, value, "[256:1,512:2,>:8]")):
        bound, count = item[0], whole_number(name, item[1])
        if count and not is_power_of_two(count):
            raise UsageError(f"allocator option {name}: {count} divisions; take a power of two")
        if bound == ">":
            divisions[last + beyond :] = [count] * (ROUNDUP_INTERVALS - last - beyond)
            continue
        size = whole_number(name, bound)
        if not is_power_of_two(size):
            raise UsageError(f"allocator option {name}: the bound {bound} is no power of two")
        last = min(size.bit_length() - 1, ROUNDUP_INTERVALS - 1)
        if index == 0:
            divisions[:last] = [count] * last
        divisions[last] = count
    return tuple(divisions)


def _read_backend(settings: AllocatorSettings, name: str, value: Value) -> AllocatorSettings:
    token = single(name, value)
    try:
        return replace(settings, backend=Backend(token))
    except ValueError:
        known = " or ".join(backend.value for backend in Backend)
        raise UsageError(f"allocator option {name} is {known}, not {token!r}") from None


def _read_expandable(settings: AllocatorSettings, name: str, value: Value) -> AllocatorSettings:
    return replace(settings, expandable_segments=switch(name, value))


def _read_addresses(settings: AllocatorSettings, name: str, value: Value) -> AllocatorSettings:
    token = single(name, value)
    reserve = _reserve(name, token)
    if token[-1] in "Gg":
        return replace(settings, addresses_bytes=int(reserve * GIB), addresses_fraction=None)
    return replace(settings, addresses_bytes=None, addresses_fraction=reserve)


def _ignored_classes(settings: AllocatorSettings, name: str, value: Value) -> AllocatorSettings:
    """Checks and ignores classes of streams: only C++ code can put a stream into a class."""
    for _, token in pairs(name, value, "[serving:0.25,loading:8G]"):
        _reserve(name, token)
    return settings


def _reserve(name: str, token: str) -> float:
    """Reads the number in a share of the card (0.5) or a size in GiB (40G)."""
    if re.fullmatch(r"[+]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?G?", token, re.ASCII | re.IGNORECASE):
        reserve = float(token.rstrip("Gg"))
        if 0 < reserve < math.inf:
            return min(reserve, _LARGEST_RESERVE)
    raise UsageError(
        f"allocator option {name} takes a share of the card like 0.5 or a size like 40G above 0; "
        f"torch ignores {token!r}"
    )


def _read_fraction(settings: AllocatorSettings, name: str, value: Value) -> AllocatorSettings:
    fraction = number(name, single(name, value))
    if not 0 <= fraction <= 1:
        raise UsageError(f"allocator option {name} must be from 0 to 1, not {value[0]}")
    return replace(settings, memory_fraction=fraction)


def _read_rejection(settings: AllocatorSettings, name: str, value: Value) -> AllocatorSettings:
    return replace(settings, reject_above_fraction=switch(name, value))


def _ignored_switch(settings: AllocatorSettings, name: str, value: Value) -> AllocatorSettings:
    switch(name, value)
    return settings


def _ignored_integer(settings: AllocatorSettings, name: str, value: Value) -> AllocatorSettings:
    whole_number(name, single(name, value))
    return settings


def _ignored_positive(settings: AllocatorSettings, name: str, value: Value) -> AllocatorSettings:
    if whole_number(name, single(name, value)) == 0:
        raise UsageError(f"allocator option {name} must be above 0")
    return settings


def _ignored_threads(settings: AllocatorSettings, name: str, value: Value) -> AllocatorSettings:
    threads = whole_number(name, single(name, value))
    if not is_power_of_two(threads) or threads > _MAX_REGISTER_THREADS:
        raise UsageError(
            f"allocator option {name} takes a power of two up to {_MAX_REGISTER_THREADS}, "
            f"not {value[0]}"
        )
    return settings


# Name, first version of torch that reads it (2.6 is the oldest supported), and its reader.
# From the strings of libc10.so and libc10_cuda.so in the wheels of 2.6 to 2.15.
_OPTIONS: tuple[tuple[str, tuple[int, int], Reader], ...] = (
    ("backend", (2, 6), _read_backend),
    ("expandable_segments", (2, 6), _read_expandable),
    ("expandable_segments_reserve", (2, 15), _read_addresses),
    ("garbage_collection_threshold", (2, 6), _read_threshold),
    ("max_non_split_rounding_mb", (2, 6), _read_max_rounding),
    ("max_split_size_mb", (2, 6), _read_max_split),
    ("roundup_power2_divisions", (2, 6), _read_roundup),
    (_LARGE_SEGMENT, (2, 11), _read_large_segment),
    ("per_process_memory_fraction", (2, 10), _read_fraction),
    ("throw_on_cudamalloc_oom", (2, 12), _read_rejection),
    ("expandable_segments_reserve_by_class", (2, 15), _ignored_classes),
    # Host memory, locks and CUDA graphs: no byte on the card depends on these.
    ("graph_capture_record_stream_reuse", (2, 9), _ignored_switch),
    ("pinned_free_catch_all", (2, 12), _ignored_switch),
    ("pinned_max_cached_size_mb", (2, 13), _ignored_integer),
    ("pinned_max_round_threshold_mb", (2, 13), _ignored_integer),
    ("pinned_num_register_threads", (2, 6), _ignored_threads),
    ("pinned_reserve_segment_size_mb", (2, 10), _ignored_positive),
    ("pinned_use_background_threads", (2, 6), _ignored_switch),
    ("pinned_use_cuda_host_register", (2, 6), _ignored_switch),
    ("pinned_use_hip_host_register", (2, 6), _ignored_switch),
    ("release_lock_on_cudamalloc", (2, 6), _ignored_switch),
    ("release_lock_on_hipmalloc", (2, 6), _ignored_switch),
)
_SINCE = {name: since for name, since, _ in _OPTIONS}
_READERS = {name: reader for name, _, reader in _OPTIONS}
