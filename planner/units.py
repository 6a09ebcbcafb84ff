"""Parses and formats sizes, counts and durations: the only module that does so.

Inside the planner a size is an int in bytes, a duration a float in seconds. GiB = 2**30. "GB" and
"G" in user input mean GiB as PyTorch and nvidia-smi use them, because a card sold as 24 GB has
24 GiB.
"""

from __future__ import annotations

import re
from decimal import Decimal

from planner.errors import UsageError

KIB = 1 << 10
MIB = 1 << 20
GIB = 1 << 30
TIB = 1 << 40

_FACTORS = {"": 1, "k": KIB, "m": MIB, "g": GIB, "t": TIB, "p": 1 << 50, "e": 1 << 60}
_NUMBER = r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)"
_SIZE = re.compile(rf"\s*{_NUMBER}\s*([kmgtpe]?)(?:i?b)?\s*", re.IGNORECASE | re.ASCII)
_LARGEST_BYTES = 1 << 60  # more than any memory; each number that holds a size has it exactly

_SECONDS = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600}
_DURATION = re.compile(rf"\s*{_NUMBER}\s*(s|m|min|h)?\s*", re.IGNORECASE | re.ASCII)
_LONGEST_S = 30 * 24 * 3600  # a month; far below the longest wait that threads allow

SECONDS_PER_HOUR = 3600
JOULES_PER_KWH = 3_600_000

_SHORT = {
    **{unit: Decimal(seconds) for unit, seconds in _SECONDS.items() if unit},
    "us": Decimal("1e-6"),
    "ms": Decimal("1e-3"),
}
_SHORT_DURATION = re.compile(rf"\s*{_NUMBER}\s*(us|ms|s|min|m|h)\s*", re.IGNORECASE | re.ASCII)

_COUNT_FACTORS = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9}
_COUNT = re.compile(rf"\s*{_NUMBER}\s*([kmb]?)\s*", re.IGNORECASE | re.ASCII)
_LARGEST_DATASET = 10**15  # samples; more than any dataset, and still exact in a float


def parse_bytes(text: str) -> int:
    """Returns the bytes of "24GiB", "500M", "1.5 GB" or "1048576".

    Raises:
        UsageError: the text is not a size.
    """
    size_bytes = _bytes(text)
    if size_bytes > _LARGEST_BYTES:
        raise UsageError(f"{text!r} is more than any memory (1 EiB at most); write it like 24GiB")
    return size_bytes


def parse_memory(value: str | int, name: str, most_bytes: int = _LARGEST_BYTES) -> int:
    """Returns the bytes of the memory `name`, given as a size in text or as a number of bytes.

    Raises:
        UsageError: neither of the two, not above 0, without a unit, or above `most_bytes`.
    """
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise UsageError(f"{name} must be a size like 24GiB or a number of bytes, not {value!r}")
    size_bytes = _bytes(value) if isinstance(value, str) else value
    if isinstance(value, str):
        _check_unit(value, size_bytes, name)
    if size_bytes <= 0:
        raise UsageError(f"{name} must be more than 0, not {value!r}; write it like 24GiB")
    if size_bytes > most_bytes:
        raise UsageError(
            f"{name} {value!r} was asked for, and the most that it can be is "
            f"{format_bytes(most_bytes)}: give that or less"
        )
    return size_bytes


def _bytes(text: str) -> int:
    match = _SIZE.fullmatch(text)
    if match is None:
        raise UsageError(f"{text!r} is not a size; write it like 24GiB, 500MiB or 1048576")
    return int(Decimal(match[1]) * _FACTORS[match[2].lower()])


def _check_unit(text: str, size_bytes: int, name: str) -> None:
    """Raises UsageError for "24": nobody means 24 bytes of memory."""
    number = text.strip()
    if 0 < size_bytes < MIB and number.replace(".", "", 1).isdecimal():
        raise UsageError(f"{name} {number} has no unit, and would be bytes: write {number}GiB")


def parse_reserve(text: str | int, of_bytes: int) -> int:
    """Returns the bytes of a size ("1GiB") or of a share of `of_bytes` ("5%").

    A number is bytes already.

    Raises:
        UsageError: neither a size nor a percentage from 0 to below 100.
    """
    if isinstance(text, int) and not isinstance(text, bool):
        return text
    if not isinstance(text, str):
        raise UsageError(f"{text!r} is neither a size like 1GiB nor a percentage like 5%")
    stripped = text.strip()
    if not stripped.endswith("%"):
        size_bytes = parse_bytes(stripped)
        _check_unit(stripped, size_bytes, "memory to keep free:")
        return size_bytes
    try:
        percent = float(stripped[:-1])
    except ValueError:
        raise UsageError(f"{text!r} is neither a size like 1GiB nor a percentage like 5%") from None
    if not 0 <= percent < 100:
        raise UsageError(f"a reserve of {text!r} leaves nothing; give 0% to below 100%")
    return int(of_bytes * percent / 100)


def parse_fraction(value: str | float, name: str) -> float:
    """Returns 0.03 for "3%", "0.03" or 0.03.

    Raises:
        UsageError: not a number from 0 to below 1.
    """
    text = str(value).strip()
    try:
        fraction = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        raise UsageError(f"{name} {value!r} is not a share; write it like 3% or 0.03") from None
    if not 0 <= fraction < 1:
        raise UsageError(f"{name} {value!r} is not a share from 0% to below 100%")
    return fraction


def parse_seconds(text: str) -> float:
    """Returns the seconds of "600", "90s", "10m" or "1.5h".

    Raises:
        UsageError: the text is not a duration above 0 and up to 30 days.
    """
    match = _DURATION.fullmatch(text)
    seconds = Decimal(match[1]) * _SECONDS[(match[2] or "").lower()] if match else None
    if seconds is None or not 0 < seconds <= _LONGEST_S:
        raise UsageError(f"{text!r} is not a duration; write it like 600, 90s, 10m or 1h")
    return float(seconds)


def parse_short_time(text: str, name: str) -> float:
    """Returns the seconds of "120 ms", "850us", "1.5 s" or "2 min"; a unit is required.

    Raises:
        UsageError: the text is not a duration above 0 with a unit.
    """
    match = _SHORT_DURATION.fullmatch(text)
    seconds = float(Decimal(match[1]) * _SHORT[match[2].lower()]) if match else 0.0
    if not seconds > 0:
        raise UsageError(
            f"{name} {text!r} is not a time with a unit; write it like 120 ms or 1.5 s"
        )
    return seconds


def parse_size_or_share(text: str, name: str) -> tuple[float, bool]:
    """Returns bytes and False for "1 GiB", a fraction and True for "5 %"; a unit is required.

    Raises:
        UsageError: neither of the two, or a number without a unit.
    """
    stripped = text.strip()
    if not stripped.endswith("%"):
        return parse_size(stripped, name), False
    try:
        percent = float(stripped[:-1])
    except ValueError:
        percent = -1.0
    if not 0 <= percent < 1e6:
        raise UsageError(f"{name} {text!r} is not a percentage; write it like 5 %")
    return percent / 100, True


def parse_size(text: str, name: str) -> int:
    """Returns the bytes of "20 GiB"; a unit is required.

    Raises:
        UsageError: the text is not a size, or has no unit.
    """
    if text.strip().replace(".", "", 1).isdecimal():
        raise UsageError(f"{name} {text.strip()} has no unit: write it like {text.strip()} GiB")
    try:
        return parse_bytes(text)
    except UsageError as error:
        raise UsageError(f"{name}: {error}") from error


def parse_dataset_size(text: str) -> int:
    """Returns the samples of "1281167", "1.28M" or "50k"; k, M and B are powers of 1000.

    Raises:
        UsageError: not a whole number of samples from 1 to 10**15.
    """
    match = _COUNT.fullmatch(text)
    samples = Decimal(match[1]) * _COUNT_FACTORS[match[2].lower()] if match else None
    if samples is None or samples != int(samples) or not 1 <= samples <= _LARGEST_DATASET:
        raise UsageError(
            f"dataset size {text!r} is not a whole number of samples; write it like 1281167, "
            "1.28M or 50k"
        )
    return int(samples)


def format_bytes(size_bytes: int) -> str:
    """Formats a size with three significant digits and a binary unit: 1.46 GiB, 512 MiB, 8 B."""
    for factor, unit in ((TIB, "TiB"), (GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")):
        value = size_bytes / factor
        if abs(value) >= 1 - 0.5 / KIB:  # also if it rounds to 1024 of the smaller unit
            digits = 2 if abs(value) < 9.995 else 1 if abs(value) < 99.95 else 0
            return f"{value:.{digits}f} {unit}"
    return f"{size_bytes} B"


def format_part(part_bytes: int, whole_bytes: int) -> str:
    """Formats a size and the whole, with the unit once if both have the same: 1.68 of 79.1 GiB."""
    part, whole = format_bytes(part_bytes), format_bytes(whole_bytes)
    number, _, unit = part.partition(" ")
    return f"{number if whole.endswith(f' {unit}') else part} of {whole}"


def format_count(count: int) -> str:
    """Formats a count with a decimal prefix: 25.6 M, 70.6 B, 512."""
    for factor, unit in ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "k")):
        if abs(count) >= 0.99995 * factor:  # also if it rounds to 1000.0 of the smaller unit
            return f"{count / factor:.1f} {unit}"
    return str(count)


def format_flops(flops: int) -> str:
    """Formats FLOPs with a decimal prefix: 8.27 GFLOPs, 563 TFLOPs, 512 FLOPs."""
    for factor, unit in ((10**15, "P"), (10**12, "T"), (10**9, "G"), (10**6, "M"), (10**3, "k")):
        value = flops / factor
        if abs(value) >= 0.9995:  # also if it rounds to 1000 of the smaller unit
            digits = 2 if abs(value) < 9.995 else 1 if abs(value) < 99.95 else 0
            return f"{value:.{digits}f} {unit}FLOPs"
    return f"{flops} FLOPs"


def format_percent(part: float, whole: float) -> str:
    """Formats a share in whole percent, with one more digit below 10 %: 5.3 %, 112 %."""
    percent = 100 * part / whole
    return f"{percent:.0f} %" if percent >= 9.95 else f"{percent:.1f} %"


def format_significant(value: float) -> str:
    """Formats three significant digits, with no exponent from 0.0001 on: 0.0120, 1.46, 12345."""
    size = abs(value)
    if size >= 99.95:
        return f"{value:.0f}"
    if size >= 0.9995:
        return f"{value:.{2 if size < 9.995 else 1}f}"
    return f"{value:#.3g}" if value else "0"


def format_range(ends: tuple[float, float], unit: str = "") -> str:
    """Formats both ends with three digits, or one if equal: 0.310 to 0.420 J, 2.79 USD/h."""
    low, high = map(format_significant, ends)
    return f"{low if low == high else f'{low} to {high}'} {unit}".rstrip()


def format_duration(duration_s: float) -> str:
    """Formats three significant digits: 850 us, 12.3 ms, 1.20 s, 3.50 min, 12.0 h."""
    for factor_s, unit in ((SECONDS_PER_HOUR, "h"), (60, "min"), (1, "s"), (1e-3, "ms")):
        if duration_s >= 0.9995 * factor_s:  # also if it rounds to 1 of this unit
            return f"{format_significant(duration_s / factor_s)} {unit}"
    return f"{format_significant(duration_s * 1e6)} us"


def counted(number: int, word: str) -> str:
    """Returns a number with its word: 1 warning, 2 warnings."""
    return f"{number} {word}{'' if number == 1 else 's'}"
