"""How blocks are divided among stages, and stages among ranks."""

from __future__ import annotations

import pytest

from planner.config.parse import step_config
from planner.errors import UsageError
from planner.worker.ranks.pipeline.split import blocks_of_stages, places_of, stages_of


@pytest.mark.parametrize(
    ("blocks", "stages", "expected"),
    [
        pytest.param(32, 4, (8, 9, 8, 7), id="llama 8B: embedding and head count as a block each"),
        pytest.param(6, 2, (3, 3), id="even"),
        pytest.param(8, 8, (1,) * 8, id="a block each, though the ends would have none"),
        pytest.param(5, 3, (2, 2, 1), id="uneven"),
    ],
)
def test_blocks_are_dealt_out_as_evenly_as_they_divide(
    blocks: int, stages: int, expected: tuple[int, ...]
) -> None:
    assert blocks_of_stages(blocks, stages) == expected


def test_blocks_are_dealt_out_as_asked() -> None:
    assert blocks_of_stages(4, 2, (1, 3)) == (1, 3)
    with pytest.raises(UsageError, match="deals out 5 blocks, and the model has 4"):
        blocks_of_stages(4, 2, (1, 4))
    with pytest.raises(UsageError, match="the model has 3 repeated blocks"):
        blocks_of_stages(3, 4)


@pytest.mark.parametrize(
    ("words", "places"),
    [
        ("pp=2,1f1b", (0, 1)),
        ("pp=2,interleaved", (0, 1, 0, 1)),
        ("pp=2,zb", (0, 1, 0, 1)),
        ("pp=2,zbv", (0, 1, 1, 0)),
    ],
)
def test_a_rank_has_the_stages_of_its_schedule(words: str, places: tuple[int, ...]) -> None:
    config = step_config({"parallel": words}).parallel
    assert config is not None
    assert places_of(config) == places
    sizes = (2,) * len(places)
    mine = stages_of(config, sizes)
    assert [stage.index for stage in mine] == [
        stage for stage, place in enumerate(places) if place == 0
    ]
    assert all(stage.last - stage.first == 1 for stage in mine)
    assert mine[0].is_first
    assert mine[-1].is_last is (places[-1] == 0)
