"""Divides a chain of blocks among the stages of a pipeline, and the stages among its ranks.

In: numbers of blocks, stages and ranks. Out: Stages. Convention: as torchtitan does
(https://github.com/pytorch/torchtitan, distributed/pipeline_parallel.py): what comes before the
first block and what comes after the last one count as a block each; stages that get one more are
the first ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from planner.config.parallel import ParallelConfig, Schedule
from planner.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Blocks `first` to `last` of the model, both included."""

    index: int
    first: int
    last: int
    stages: int

    @property
    def is_first(self) -> bool:
        """Returns whether the micro-batches come in here."""
        return self.index == 0

    @property
    def is_last(self) -> bool:
        """Returns whether the loss is computed here."""
        return self.index == self.stages - 1


def blocks_of_stages(blocks: int, stages: int, asked: Sequence[int] = ()) -> tuple[int, ...]:
    """Returns the number of blocks of each stage.

    Raises:
        UsageError: there are fewer blocks than stages, or `asked` are not all of them.
    """
    if asked:
        if sum(asked) != blocks:
            raise UsageError(
                f"split={':'.join(map(str, asked))} (--parallel-arg) deals out {sum(asked)} "
                f"blocks, and the model has {blocks}"
            )
        return tuple(asked)
    if blocks < stages:
        raise UsageError(
            f"a pipeline of {stages} stages was asked for (--parallel), and the model has {blocks} "
            "repeated blocks in an nn.Sequential or nn.ModuleList: take fewer stages, or write "
            "parallelize(model, mesh) in the model file"
        )
    sizes = _even(blocks + 2, stages)
    sizes[0] -= 1
    sizes[-1] -= 1
    return tuple(sizes if min(sizes) > 0 else _even(blocks, stages))


def stages_of(config: ParallelConfig, sizes: Sequence[int]) -> tuple[Stage, ...]:
    """Returns the stages of the played rank, first to last."""
    places = places_of(config)
    found, first = [], 0
    for index, size in enumerate(sizes):
        if places[index] == config.place:
            stage = Stage(index=index, first=first, last=first + size - 1, stages=len(sizes))
            found.append(stage)
        first += size
    return tuple(found)


def places_of(config: ParallelConfig) -> tuple[int, ...]:
    """Returns the rank within the pipeline that has each stage."""
    ranks, stages = config.pipeline, config.stages
    if config.pipeline_options.schedule is Schedule.ZERO_BUBBLE_V:
        return tuple(index if index < ranks else stages - 1 - index for index in range(stages))
    return tuple(index % ranks for index in range(stages))


def one_stage_order(stage: int, microbatches: int, ahead: int) -> tuple[str, ...]:
    """Returns forwards and backwards in turn, where `ahead` forwards come before the first one."""
    words = [f"{stage}F{number}" for number in range(ahead)]
    for number in range(microbatches):
        words.append(f"{stage}B{number}")
        if ahead + number < microbatches:
            words.append(f"{stage}F{ahead + number}")
    return tuple(words)


def _even(number: int, parts: int) -> list[int]:
    each, more = divmod(number, parts)
    return [each + (part < more) for part in range(parts)]
