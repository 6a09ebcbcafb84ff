"""The operators of a whole generation, from counts of its prompt, its first and its last tokens.

In: ModelCounts of four parts. Out: ModelCounts. Convention: the time of a token is affine in the
length of the cache, so that all tokens together take what as many means of the first and the last
one take. The prompt and the tokens come one after another: each token needs the one before.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from planner.wire.call_order import CallOrder
from planner.wire.module_counts import ModelCounts, SerialPart
from planner.wire.trace import OperatorRecord


def generated_counts(
    prompt: ModelCounts,
    first: ModelCounts,
    before: ModelCounts,
    last: ModelCounts,
    *,
    tokens: int,
    batch_size: int,
) -> ModelCounts:
    """Returns the counts of a prompt and `tokens` tokens after it, the first of them its own.

    `first` has the prompt and the first token with a pass of its own; `before` and `last` are the
    same with a prompt that is longer by all tokens but two.
    """
    passes = tokens - 1
    written = [
        replace(record, calls=-(-record.calls * passes // 2))
        for one, other in ((first, prompt), (last, before))
        for record in _beyond(one, other)
    ]
    views = sum(_views(one) - _views(other) for one, other in ((first, prompt), (last, before)))
    flops = sum(record.total_flops for record in written)
    return replace(
        prompt,
        step=replace(
            prompt.step,
            step_flops=prompt.step.step_flops + flops,
            forward_flops_per_sample=(prompt.step.step_flops + flops) // batch_size,
            uncounted_operators=last.step.uncounted_operators,
        ),
        operators=(*prompt.operators, *written),
        order=_with_views(prompt, max(0, views) * passes // 2),
        serial_parts=(
            SerialPart(operators=len(prompt.operators), passes=1),
            SerialPart(operators=len(written), passes=passes),
        ),
    )


def _beyond(one: ModelCounts, other: ModelCounts) -> Iterator[OperatorRecord]:
    """Yields the calls of `one` that `other` has not, in the order of `one`."""
    known = Counter({replace(record, calls=0): record.calls for record in other.operators})
    for record in one.operators:
        calls = record.calls - known[replace(record, calls=0)]
        if calls > 0:
            yield replace(record, calls=calls)


def _views(counts: ModelCounts) -> int:
    return sum(counts.order.views)


def _with_views(prompt: ModelCounts, views: int) -> CallOrder:
    """Returns the prompt's order, with the views of all tokens before a last call.

    Only sums are taken of it where parts of a step come one after another.
    """
    order = prompt.order
    if not order.operators:
        return order
    return CallOrder(operators=(*order.operators, order.operators[-1]), views=(*order.views, views))
