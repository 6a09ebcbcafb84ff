"""The vote of a pipeline's stages on their shapes, where a rank is alone: all vote as it does.

In: torch.distributed.pipelining. Out: a PipelineStage that takes its own vote for that of all.
Convention: tensors and messages of the vote are PyTorch's own; only its content is known here.
"""

from __future__ import annotations

import functools
from typing import Any

import torch

from planner.errors import UsageError
from planner.worker.engines import emulation

_VOTE_BYTES = 4
_MARK = "_planner_votes"
_STAGES: dict[int, int] = {}  # stages that have voted, and how many there are


def take_own_votes() -> None:
    """Lets stages agree without their peers, from now on."""
    from torch.distributed.pipelining import stage

    names: Any = stage
    kind = names.PipelineStage
    if getattr(kind, _MARK, False):
        return
    setattr(kind, _MARK, True)
    emulation.keep_contents()
    voted, resulted = kind._warmup_forward_vote, kind._warmup_backward_result

    @functools.wraps(voted)
    def vote(self: Any, has_backward: bool, *args: Any, **kwargs: Any) -> torch.Tensor:
        _STAGES[self.stage_index] = self.num_stages
        if names.InferenceMode.needs_dynamic(self._user_meta, has_backward):
            raise UsageError(
                f"stage {self.stage_index} of the pipeline does not know its shapes, and planner "
                "plays one rank, whose peers cannot tell them: give PipelineStage its input_args "
                "and output_args, as tensors on meta"
            )
        return _agreed(voted(self, has_backward, *args, **kwargs))

    @functools.wraps(resulted)
    def result(self: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        return _agreed(resulted(self, *args, **kwargs))

    kind._warmup_forward_vote, kind._warmup_backward_result = vote, result


def stages_that_voted() -> tuple[tuple[int, int], ...]:
    """Returns the index of each stage of this process, and the number of all."""
    return tuple(sorted(_STAGES.items()))


def _agreed(vote: torch.Tensor) -> torch.Tensor:
    """Gives a vote on the card the content 1: all stages know their shapes, as this one does."""
    emulation.set_content(vote.data_ptr(), _VOTE_BYTES, (1).to_bytes(_VOTE_BYTES, "little"))
    return vote
