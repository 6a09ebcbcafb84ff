"""Bytes in and out of text: the only place that converts or formats a size.

Inside the planner a size is an int in bytes. GiB = 2**30; "GB" and "G" in user input mean
GiB as PyTorch and nvidia-smi use them, because a card sold as 24 GB has 24 GiB.
"""

from __future__ import annotations

import re

from planner.errors import UsageError

KIB = 1 << 10
MIB = 1 << 20
GIB = 1 << 30
TIB = 1 << 40

_FACTORS = {"": 1, "b": 1, "k": KIB, "m": MIB, "g": GIB, "t": TIB}
_SIZE = re.compile(r"^\s*([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*([kmgt]?)(?:i?b)?\s*$", re.IGNORECASE)


def parse_bytes(text: str) -> int:
    """Bytes of "24GiB", "500M", "1.5 GB" or "1048576".

    Raises:
        UsageError: the text is not a size.
    """
    match = _SIZE.match(text)
    if match is None:
        raise UsageError(f"{text!r} is not a size; write it like 24GiB, 500MiB or 1048576")
    return int(float(match.group(1)) * _FACTORS[match.group(2).lower()])


def parse_reserve(text: str, of_bytes: int) -> int:
    """Bytes of a size ("1GiB") or of a share of `of_bytes` ("5%").

    Raises:
        UsageError: neither a size nor a percentage from 0 to below 100.
    """
    stripped = text.strip()
    if not stripped.endswith("%"):
        return parse_bytes(stripped)
    try:
        percent = float(stripped[:-1])
    except ValueError:
        raise UsageError(f"{text!r} is neither a size like 1GiB nor a percentage like 5%") from None
    if not 0 <= percent < 100:
        raise UsageError(f"a reserve of {text!r} leaves nothing; give 0% to below 100%")
    return int(of_bytes * percent / 100)


def format_bytes(size_bytes: int) -> str:
    """Three significant digits with a binary unit: 1.46 GiB, 512 MiB, 8 B."""
    magnitude = abs(size_bytes)
    for factor, unit in ((TIB, "TiB"), (GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")):
        if magnitude >= factor:
            value = size_bytes / factor
            digits = 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0
            return f"{value:.{digits}f} {unit}"
    return f"{size_bytes} B"


def format_count(count: int) -> str:
    """A count with a decimal prefix: 25.6 M, 70.6 B, 512."""
    for factor, unit in ((10**12, " T"), (10**9, " B"), (10**6, " M"), (10**3, " k")):
        if abs(count) >= factor:
            return f"{count / factor:.1f}{unit}"
    return str(count)
