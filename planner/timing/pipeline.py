"""How long a step takes in a pipeline: its order is played with the times of the stages.

In: PipelineRecord, seconds of each stage. Out: seconds from the first forward to the last backward.
Convention: a rank does one thing at a time, in PyTorch's order; a message between two ranks delays
what waits for it, and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from planner.wire.pipeline import PipelineRecord

_ACTION = re.compile(r"(\d+)([FBIW])(\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class StageTime:
    """Seconds of one micro-batch in one stage."""

    forward_s: float
    """The forward, with the loss in the last stage."""
    backward_s: float
    """The whole backward; that to inputs and that to weights are half of it each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Action:
    stage: int
    kind: str
    microbatch: int


def pipeline_s(record: PipelineRecord, stages: Sequence[StageTime], message_s: float) -> float:
    """Returns the seconds of forward and backward of all micro-batches, waiting included.

    `message_s` is the time of one tensor from rank to rank.
    """
    actions = [[_action(word) for word in words] for words in record.order]
    done: dict[tuple[str, int, int], float] = {}
    free_s = [0.0] * len(actions)
    at = [0] * len(actions)
    left = sum(len(words) for words in actions)
    while left:
        before = left
        for rank, words in enumerate(actions):
            while at[rank] < len(words):
                action = words[at[rank]]
                ready_s = _ready_s(action, record, done, message_s)
                if ready_s is None:
                    break
                end_s = max(free_s[rank], ready_s) + _length_s(action, stages)
                free_s[rank] = done[action.kind, action.stage, action.microbatch] = end_s
                at[rank] += 1
                left -= 1
        assert left < before, "PyTorch has checked that no rank waits for ever"
    return max(free_s)


def busy_s(record: PipelineRecord, stages: Sequence[StageTime], place: int) -> float:
    """Returns the seconds in which a rank of the pipeline computes."""
    return sum(_length_s(_action(word), stages) for word in record.order[place])


def _ready_s(
    action: _Action,
    record: PipelineRecord,
    done: dict[tuple[str, int, int], float],
    message_s: float,
) -> float | None:
    """Returns when all is there that an action needs; None: not yet."""
    stage, number = action.stage, action.microbatch
    if action.kind == "W":
        return done.get(("I", stage, number))
    if action.kind == "F":
        if stage == 0:
            return 0.0
        return _sent_s(("F",), stage - 1, stage, number, record, done, message_s)
    own_s = done.get(("F", stage, number))
    if own_s is None or stage == len(record.places) - 1:
        return own_s
    return _sent_s(("B", "I"), stage + 1, stage, number, record, done, message_s)


def _sent_s(
    kinds: tuple[str, ...],
    origin: int,
    stage: int,
    number: int,
    record: PipelineRecord,
    done: dict[tuple[str, int, int], float],
    message_s: float,
) -> float | None:
    for kind in kinds:
        end_s = done.get((kind, origin, number))
        if end_s is not None:
            is_here = record.places[origin] == record.places[stage]
            return end_s if is_here else end_s + message_s
    return None


def _length_s(action: _Action, stages: Sequence[StageTime]) -> float:
    stage = stages[action.stage]
    if action.kind == "F":
        return stage.forward_s
    return stage.backward_s if action.kind == "B" else stage.backward_s / 2


def _action(word: str) -> _Action:
    found = _ACTION.fullmatch(word)
    assert found is not None, f"{word} is an action of torch.distributed.pipelining"
    return _Action(stage=int(found[1]), kind=found[2], microbatch=int(found[3]))
