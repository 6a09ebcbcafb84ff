"""What an item of the user's data set costs, timed in a real child."""

from __future__ import annotations

import pytest

from planner.errors import ModelError, PlannerError, TargetError
from planner.wire.data_cost import DataCost
from tests.integration.child_runs import WriteModel, running

DATA = """
import time

def build_model():
    return nn.Linear(3, 5)

class Items:
    def __len__(self):
        return 8

    def __getitem__(self, index):
        BODY
        return torch.ones(3, 5), index

def build_dataset():
    return Items()
"""


def cost(path: str) -> DataCost:
    with running(path) as (runner, _):
        return runner.data_cost(0.2)


@pytest.mark.slow
@pytest.mark.parametrize("import_time", ["", 'torch.zeros(1, device="cuda")'], ids=["fork", "own"])
def test_a_wait_is_wall_time_and_not_work(write_model: WriteModel, import_time: str) -> None:
    found = cost(write_model(import_time + DATA.replace("BODY", "time.sleep(0.01)")))
    assert found.items >= 4
    assert found.wall_median_s >= 0.01 > found.cpu_median_s > 0
    assert found.item_bytes == 3 * 5 * 4 + 8
    assert found.collate_s is not None
    assert 0 < found.collate_s < 0.01


@pytest.mark.slow
def test_a_data_set_that_raises_shows_the_users_line(write_model: WriteModel) -> None:
    with pytest.raises(ModelError, match="the data set failed: ZeroDivisionError") as caught:
        cost(write_model(DATA.replace("BODY", "index / 0")))
    assert "index / 0" in caught.value.frames
    assert "__getitem__" in caught.value.frames


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dataset", "kind", "text"),
    [
        ("3", ModelError, "returned a int"),
        ("[]", ModelError, "without items"),
        (None, TargetError, "def build_dataset"),
    ],
)
def test_no_data_set(
    write_model: WriteModel, dataset: str | None, kind: type[PlannerError], text: str
) -> None:
    source = DATA.replace("BODY", "")
    head, _, _ = source.partition("def build_dataset")
    tail = "" if dataset is None else f"def build_dataset():\n    return {dataset}\n"
    with pytest.raises(kind, match=text):
        cost(write_model(head + tail))
