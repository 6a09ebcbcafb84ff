"""What a rule says of a call of an operator, and the two rules that many operators share.

In: Arguments. Out: Result. Convention: an argument that a rule needs and does not find raises
NoRuleError.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from planner.verification.traced_arguments import Arguments
from planner.wire.kernel_facts import AttentionFacts
from planner.wire.trace import TensorShape


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a rule says: the outputs, and where it differs from reading and writing all once.

    `unread` are places of arguments that are only written. `table` is the place of one of which
    only a part as large as the output is read. `changed` is written and no output.
    """

    outputs: tuple[TensorShape, ...] = ()
    changed: tuple[TensorShape, ...] = ()
    flops: int | None = None
    unread: tuple[int, ...] = ()
    table: int | None = None
    attention: AttentionFacts | None = None


Rule = Callable[[Arguments], Result]


def as_first(arguments: Arguments) -> Result:
    """The output is like the first argument."""
    return Result(outputs=(arguments.tensor(0),))


def as_second(arguments: Arguments) -> Result:
    """The output is like the second argument."""
    return Result(outputs=(arguments.tensor(1),))
