"""Types of command-line values, with a hint at the intended value where one is wrong.

In: a word. Out: its value, or click's error with a hint.
"""

from __future__ import annotations

import re
import shlex
from enum import Enum
from typing import TYPE_CHECKING, Any

import click

from planner.cli.step_command import given_words
from planner.config.near_words import did_you_mean, word

_SEVERAL = re.compile(r"\s*\d+\s*([,; ]\s*\d+\s*)+[,;]?\s*")
_LARGEST = ("max", "auto", "largest", "-1")


if TYPE_CHECKING:
    _Choice = click.Choice[str]
else:
    _Choice = click.Choice  # before click 8.2 it takes no type


class Words(_Choice):
    """One of the values of an enum, without regard to case and underscores."""

    def __init__(self, kind: type[Enum]) -> None:
        super().__init__([member.value for member in kind], case_sensitive=False)
        self._kind = kind

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Returns the value of the member that the word names."""
        if word(str(value)) in self.choices:
            value = word(str(value))
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter as error:
            hint = did_you_mean(self._kind, str(value))
            self.fail(f"{error.message.removesuffix('.')}{hint or '.'}", param, ctx)


class _Batch(click.IntRange):
    """A whole number of samples from 1."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Returns the number; gives a hint for several batches, and for a word like max."""
        text = str(value)
        if _SEVERAL.fullmatch(text):
            several = ",".join(re.findall(r"\d+", text))
            self.fail(
                f"{text!r} are several batches, and --batch takes one; for several: "
                f"{_instead(ctx, several)}",
                param,
                ctx,
            )
        if text.strip().lower() in _LARGEST:
            self.fail(
                f"{text!r} is no number. Leave --batch out: planner estimate searches the largest "
                "batch by itself.",
                param,
                ctx,
            )
        return int(super().convert(value, param, ctx))


def _instead(context: click.Context | None, several: str) -> str:
    """Returns the command for several batches, with the target if it is known already."""
    given = given_words(context)
    target, cards = given.get("target"), given.get("gpu") or "NAME"
    words = [
        *("planner", "curve", target if isinstance(target, str) else "TARGET"),
        *("--gpu", (cards if isinstance(cards, str) else cards[0]).partition(",")[0]),
        *("--batches", several),
    ]
    return shlex.join(words)


BATCH = _Batch(min=1)
