"""Reads PYTORCH_CUDA_ALLOC_CONF as one version of torch reads it.

In: the text and the version. Out: AllocatorSettings. Convention: what torch refuses is a UsageError
that names the option; what torch takes but memory does not depend on is checked and left aside.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeAlias

from planner.errors import UsageError
from planner.memory.allocator_settings import (
    DEFAULT_LARGE_SEGMENT_BYTES,
    LARGE_REQUEST_BYTES,
    LARGE_ROUNDING_BYTES,
    ROUNDUP_INTERVALS,
    AllocatorSettings,
    Backend,
    TorchVersion,
)
from planner.units import MIB

_LARGE_SEGMENT = "large_segment_size_mb"
_LARGEST_MB = 1 << 40  # beyond any memory; keeps sizes where torch's own arithmetic is exact
_MAX_REGISTER_THREADS = 128

Value: TypeAlias = "list[str]"  # the tokens behind the colon; a list has more than one
Reader: TypeAlias = Callable[[AllocatorSettings, str, Value], AllocatorSettings]


def parse_alloc_conf(text: str | None, torch_version: str) -> AllocatorSettings:
    """The settings that `torch_version` makes of `text`, e.g. "expandable_segments:True".

    Raises:
        UsageError: an option that this version does not know, a value that it refuses, or two
            options that contradict each other.
    """
    settings = AllocatorSettings(version=TorchVersion.parse(torch_version))
    options = _options(text or "")
    for name, _ in options:
        _check_known(name, settings.version)
    # As in torch, the segment size comes first wherever it stands: others are measured by it.
    for name, value in sorted(options, key=lambda option: option[0] != _LARGE_SEGMENT):
        settings = _READERS[name](settings, name, value)
    return _checked_together(settings)


def _options(text: str) -> list[tuple[str, Value]]:
    """Splits "name:value,name:[value:value,...]" at its marks."""
    tokens = re.findall(r"[,:\[\]]|[^\s,:\[\]]+", re.sub(r"\s", "", text))
    options: list[tuple[str, Value]] = []
    at = 0
    while at < len(tokens):
        name = tokens[at]
        if tokens[at + 1 : at + 2] != [":"] or at + 2 >= len(tokens):
            raise UsageError(
                f"allocator option {name!r} in {text!r} has no value; "
                "write NAME:VALUE,NAME:VALUE as in max_split_size_mb:256,expandable_segments:True"
            )
        end = at + 3
        if tokens[at + 2] == "[":
            if "]" not in tokens[at:]:
                raise UsageError(f"allocator option {name!r} in {text!r}: the list is not closed")
            end = tokens.index("]", at) + 1
        options.append((name, tokens[at + 2 : end]))
        if end < len(tokens) and tokens[end] != ",":
            raise UsageError(
                f"allocator options {text!r}: a comma is missing before {tokens[end]!r}"
            )
        at = end + 1
    return options


def _check_known(name: str, version: TorchVersion) -> None:
    since = _SINCE.get(name)
    if since is not None and version.at_least(*since):
        return
    known = sorted(other for other, first in _SINCE.items() if version.at_least(*first))
    detail = f" (it came with {since[0]}.{since[1]})" if since else ""
    raise UsageError(
        f"torch {version} has no allocator option {name!r}{detail}; it knows {', '.join(known)}"
    )


def _checked_together(settings: AllocatorSettings) -> AllocatorSettings:
    if settings.expandable_segments and settings.large_segment_bytes % LARGE_ROUNDING_BYTES:
        raise UsageError(
            f"{_LARGE_SEGMENT} of {settings.large_segment_bytes // MIB} contradicts "
            "expandable_segments: the driver maps memory in pages of 2 MiB; take an even number"
        )
    return settings


def _token(name: str, value: Value) -> str:
    if len(value) != 1:
        raise UsageError(f"allocator option {name} takes one value, not {''.join(value)!r}")
    return value[0]


def _integer(name: str, token: str) -> int:
    if not re.fullmatch(r"\d+", token, re.ASCII):
        raise UsageError(f"allocator option {name} takes a whole number, not {token!r}")
    return min(int(token), _LARGEST_MB)


def _number(name: str, token: str) -> float:
    try:
        return float(token)
    except ValueError:
        raise UsageError(f"allocator option {name} takes a number, not {token!r}") from None


def _switch(name: str, value: Value) -> bool:
    token = _token(name, value)
    if token not in ("True", "False"):
        raise UsageError(f"allocator option {name} is True or False, not {token!r}")
    return token == "True"


def _is_power_of_two(number: int) -> bool:
    return number > 0 and number & (number - 1) == 0


def _read_large_segment(settings: AllocatorSettings, name: str, value: Value) -> AllocatorSettings:
    size_bytes = _integer(name, _token(name, value)) * MIB
    if size_bytes <= LARGE_REQUEST_BYTES:
        raise UsageError(f"allocator option {name} must be above {LARGE_REQUEST_BYTES // MIB}")
    return replace(
        settings, large_segment_bytes=size_bytes, max_non_split_rounding_bytes=size_bytes
    )


def _above_segment(settings: AllocatorSettings, name: str, value: Value) -> int:
    """Bytes of an option in MiB that may not be below the size of a large segment."""
    size_bytes = _integer(name, _token(name, value)) * MIB
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
    if value == ["-1"]:  # as memory_stats() shows it where nothing is said
        return replace(settings, max_split_bytes=None)
    return replace(settings, max_split_bytes=_above_segment(settings, name, value))


def _read_max_rounding(settings: AllocatorSettings, name: str, value: Value) -> AllocatorSettings:
    return replace(settings, max_non_split_rounding_bytes=_above_segment(settings, name, value))


def _read_threshold(settings: AllocatorSettings, name: str, value: Value) -> AllocatorSettings:
    threshold = _number(name, _token(name, value))
    if not 0 < threshold < 1:
        raise UsageError(f"allocator option {name} must be above 0 and below 1, not {value[0]}")
    return replace(settings, garbage_collection_threshold=threshold)


def _read_roundup(settings: AllocatorSettings, name: str, value: Value) -> AllocatorSettings:
    if value[0] != "[":
        divisions = _integer(name, _token(name, value))
        if not _is_power_of_two(divisions):
            raise UsageError(f"allocator option {name} takes a power of two, not {value[0]}")
        return replace(settings, roundup_divisions=(divisions,) * ROUNDUP_INTERVALS)
    return replace(settings, roundup_divisions=_roundup_list(settings, name, value))


def _roundup_list(settings: AllocatorSettings, name: str, value: Value) -> tuple[int, ...]:
    """One entry per power of two from "[256:1,512:2,>:8]"; the bounds are in MiB."""
    divisions, last = [0] * ROUNDUP_INTERVALS, 0
    # Where ">" begins: before torch 2.10 it also overwrote the last bound named.
    beyond = 1 if settings.version.at_least(2, 10) else 0
    for number, item in enumerate(_pairs(name, value)):
        bound, count = item[0], _integer(name, item[1])
        if count and not _is_power_of_two(count):
            raise UsageError(f"allocator option {name}: {count} divisions; take a power of two")
        if bound == ">":
            divisions[last + beyond :] = [count] * (ROUNDUP_INTERVALS - last - beyond)
            continue
        size = _integer(name, bound)
        if not _is_power_of_two(size):
            raise UsageError(f"allocator option {name}: the bound {bound} is no power of two")
        last = min(size.bit_length() - 1, ROUNDUP_INTERVALS - 1)
        if number == 0:
            divisions[:last] = [count] * last
        divisions[last] = count
    return tuple(divisions)


def _pairs(name: str, value: Value) -> list[Sequence[str]]:
    text = "".join(value[1:-1])
    items = [item.split(":") for item in text.split(",")] if text else []
    if any(len(item) != 2 or not all(item) for item in items):
        raise UsageError(
            f"allocator option {name}: {''.join(value)!r} is not a list like [256:1,512:2,>:8]"
        )
    return list(items)


def _read_backend(settings: AllocatorSettings, name: str, value: Value) -> AllocatorSettings:
    token = _token(name, value)
    try:
        return replace(settings, backend=Backend(token))
    except ValueError:
        known = " or ".join(backend.value for backend in Backend)
        raise UsageError(f"allocator option {name} is {known}, not {token!r}") from None


def _read_expandable(settings: AllocatorSettings, name: str, value: Value) -> AllocatorSettings:
    return replace(settings, expandable_segments=_switch(name, value))


def _read_fraction(settings: AllocatorSettings, name: str, value: Value) -> AllocatorSettings:
    fraction = _number(name, _token(name, value))
    if not 0 <= fraction <= 1:
        raise UsageError(f"allocator option {name} must be from 0 to 1, not {value[0]}")
    return replace(settings, memory_fraction=fraction)


def _read_rejection(settings: AllocatorSettings, name: str, value: Value) -> AllocatorSettings:
    return replace(settings, reject_above_fraction=_switch(name, value))


def _ignored_switch(settings: AllocatorSettings, name: str, value: Value) -> AllocatorSettings:
    _switch(name, value)
    return settings


def _ignored_integer(settings: AllocatorSettings, name: str, value: Value) -> AllocatorSettings:
    _integer(name, _token(name, value))
    return settings


def _ignored_positive(settings: AllocatorSettings, name: str, value: Value) -> AllocatorSettings:
    if _integer(name, _token(name, value)) == 0:
        raise UsageError(f"allocator option {name} must be above 0")
    return settings


def _ignored_threads(settings: AllocatorSettings, name: str, value: Value) -> AllocatorSettings:
    threads = _integer(name, _token(name, value))
    if not _is_power_of_two(threads) or threads > _MAX_REGISTER_THREADS:
        raise UsageError(
            f"allocator option {name} takes a power of two up to {_MAX_REGISTER_THREADS}, "
            f"not {value[0]}"
        )
    return settings


# Name, first version of torch that reads it (2.6 is the oldest supported), and how it is read.
# From the strings of libc10.so and libc10_cuda.so in the wheels of 2.6 to 2.14.
_OPTIONS: tuple[tuple[str, tuple[int, int], Reader], ...] = (
    ("backend", (2, 6), _read_backend),
    ("expandable_segments", (2, 6), _read_expandable),
    ("garbage_collection_threshold", (2, 6), _read_threshold),
    ("max_non_split_rounding_mb", (2, 6), _read_max_rounding),
    ("max_split_size_mb", (2, 6), _read_max_split),
    ("roundup_power2_divisions", (2, 6), _read_roundup),
    (_LARGE_SEGMENT, (2, 11), _read_large_segment),
    ("per_process_memory_fraction", (2, 10), _read_fraction),
    ("throw_on_cudamalloc_oom", (2, 12), _read_rejection),
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
