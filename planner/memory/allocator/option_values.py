"""Splits PYTORCH_CUDA_ALLOC_CONF into options and values, without interpreting the options.

In: the text. Out: names with their tokens, and tokens as numbers and switches. Convention: a value
is the list of tokens after the colon; a list in the text has several, its brackets included.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TypeAlias

from planner.errors import UsageError

Value: TypeAlias = "list[str]"
_LARGEST = 1 << 40  # in MiB beyond any memory; within it torch's own arithmetic is exact


def split_options(text: str) -> list[tuple[str, Value]]:
    """Splits "name:value,name:[value:value,...]" into names and values.

    Raises:
        UsageError: an option has no value, a list does not end, or a comma is missing.
    """
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


def single(name: str, value: Value) -> str:
    """Returns the one token of a value.

    Raises:
        UsageError: the value is a list.
    """
    if len(value) != 1:
        raise UsageError(f"allocator option {name} takes one value, not {''.join(value)!r}")
    return value[0]


def whole_number(name: str, token: str) -> int:
    """Reads a whole number from 0 on.

    Raises:
        UsageError: it is none.
    """
    if not re.fullmatch(r"\d+", token, re.ASCII):
        raise UsageError(f"allocator option {name} takes a whole number, not {token!r}")
    return min(int(token), _LARGEST)


def number(name: str, token: str) -> float:
    """Reads a number with or without a fraction.

    Raises:
        UsageError: it is none.
    """
    try:
        return float(token)
    except ValueError:
        raise UsageError(f"allocator option {name} takes a number, not {token!r}") from None


def switch(name: str, value: Value) -> bool:
    """Reads True or False, in this spelling.

    Raises:
        UsageError: the value is neither.
    """
    token = single(name, value)
    if token not in ("True", "False"):
        raise UsageError(f"allocator option {name} is True or False, not {token!r}")
    return token == "True"


def is_power_of_two(number: int) -> bool:
    """Returns whether a number is 1, 2, 4, 8 ..."""
    return number > 0 and number & (number - 1) == 0


def pairs(name: str, value: Value, example: str) -> list[Sequence[str]]:
    """Reads the pairs in a list like `example`.

    Raises:
        UsageError: the value is not such a list.
    """
    text = "".join(value[1:-1])
    items = [item.split(":") for item in text.split(",")] if text else []
    if value[0] != "[" or any(len(item) != 2 or not all(item) for item in items):
        raise UsageError(
            f"allocator option {name}: {''.join(value)!r} is not a list like {example}"
        )
    return list(items)
