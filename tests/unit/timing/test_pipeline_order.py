"""The time of a pipeline: its order played with times of stages, against hand arithmetic."""

from __future__ import annotations

import pytest

from planner.timing.pipeline import StageTime, busy_s, pipeline_s
from planner.wire.pipeline import PipelineRecord
from planner.worker.ranks.pipeline.split import one_stage_order

FORWARD_S, BACKWARD_S = 1.0, 2.0
EQUAL = StageTime(forward_s=FORWARD_S, backward_s=BACKWARD_S)


def one_stage_a_rank(stages: int, microbatches: int, *, is_gpipe: bool = False) -> PipelineRecord:
    """A pipeline of 1F1B, or of GPipe."""
    return PipelineRecord(
        blocks=(1,) * stages,
        places=tuple(range(stages)),
        microbatches=microbatches,
        order=tuple(
            one_stage_order(
                stage, microbatches, microbatches if is_gpipe else min(microbatches, stages - stage)
            )
            for stage in range(stages)
        ),
    )


def test_the_order_of_1f1b_is_that_of_its_schedule() -> None:
    record = one_stage_a_rank(2, 3)
    assert record.order == (
        ("0F0", "0F1", "0B0", "0F2", "0B1", "0B2"),
        ("1F0", "1B0", "1F1", "1B1", "1F2", "1B2"),
    )


@pytest.mark.parametrize("is_gpipe", [False, True], ids=["1f1b", "gpipe"])
@pytest.mark.parametrize(("stages", "microbatches"), [(2, 2), (4, 4), (4, 16), (8, 8)])
def test_equal_stages_wait_for_one_micro_batch_each(
    stages: int, microbatches: int, is_gpipe: bool
) -> None:
    record = one_stage_a_rank(stages, microbatches, is_gpipe=is_gpipe)
    times = [EQUAL] * stages
    # The known bubble: (stages - 1) micro-batches on top of those of the step.
    each = FORWARD_S + BACKWARD_S
    assert pipeline_s(record, times, 0.0) == (microbatches + stages - 1) * each
    assert busy_s(record, times, 0) == microbatches * each


def test_the_slowest_stage_sets_the_pace() -> None:
    slow = StageTime(forward_s=2.0, backward_s=4.0)
    record = one_stage_a_rank(3, 12)
    # Its 12 micro-batches; before them a forward of the first stage, after them its backward. It
    # has run two forwards at 5 s, and the first gradient of the last stage comes at 6 s.
    assert pipeline_s(record, [EQUAL, slow, EQUAL], 0.0) == 12 * 6.0 + FORWARD_S + BACKWARD_S + 1.0


def test_messages_delay_the_way_to_the_last_stage_and_back() -> None:
    record = one_stage_a_rank(2, 1)
    assert pipeline_s(record, [EQUAL, EQUAL], 0.25) == 2 * (FORWARD_S + BACKWARD_S) + 2 * 0.25


def test_stages_of_one_rank_send_nothing() -> None:
    record = PipelineRecord(
        blocks=(1, 1), places=(0, 0), microbatches=1, order=(("0F0", "1F0", "1B0", "0B0"),)
    )
    assert pipeline_s(record, [EQUAL, EQUAL], 5.0) == 6.0


def test_gradients_of_weights_fill_the_bubble() -> None:
    # The last stage sends its input's gradient after half of its backward.
    split = PipelineRecord(
        blocks=(1, 1),
        places=(0, 1),
        microbatches=1,
        order=(("0F0", "0I0", "0W0"), ("1F0", "1I0", "1W0")),
    )
    whole = one_stage_a_rank(2, 1)
    saved_s = pipeline_s(whole, [EQUAL] * 2, 0.0) - pipeline_s(split, [EQUAL] * 2, 0.0)
    assert saved_s == BACKWARD_S / 2
