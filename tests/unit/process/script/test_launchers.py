"""A launcher's words as those of one rank."""

from __future__ import annotations

from pathlib import Path

import pytest

from planner.errors import UsageError
from planner.process.script.launchers import Launch, launch_of

PYTHON = ("/env/bin/python",)


@pytest.mark.parametrize(
    ("words", "started", "gpus", "hosts"),
    [
        pytest.param(
            "torchrun --nproc-per-node 8 train.py --lr 0.1",
            "/env/bin/python train.py --lr 0.1", 8, 1, id="one host",
        ),
        pytest.param(
            "/env/bin/torchrun --standalone --nproc_per_node=4 train.py",
            "/env/bin/python train.py", 4, 1, id="underscores and =",
        ),
        pytest.param(
            "torchrun --nnodes=4 --nproc-per-node=8 --rdzv-backend c10d --rdzv-id 7 t.py -v",
            "/env/bin/python t.py -v", 32, 4, id="hosts",
        ),
        pytest.param(
            "torchrun --nnodes 1:4 --nproc-per-node 2 t.py",
            "/env/bin/python t.py", 8, 4, id="elastic: the most",
        ),
        pytest.param(
            "torchrun --nproc-per-node 2 -m pkg.train x=1",
            "/env/bin/python -m pkg.train x=1", 2, 1, id="a module",
        ),
        pytest.param(
            "torchrun --nproc-per-node 2 --no-python ./start t.py",
            "./start t.py", 2, 1, id="no Python",
        ),
        pytest.param(
            "python -m torch.distributed.run --nproc-per-node 2 t.py",
            "/env/bin/python t.py", 2, 1, id="as a module",
        ),
        pytest.param("torchrun t.py", "/env/bin/python t.py", 1, 1, id="one process"),
    ],
)  # fmt: skip
def test_the_command_of_one_rank(words: str, started: str, gpus: int, hosts: int) -> None:
    assert launch_of(words.split(), PYTHON, Path()) == Launch(
        words=tuple(started.split()), gpus=gpus, hosts=hosts
    )


@pytest.mark.parametrize("words", ["python train.py", "python -m torch.utils.x a b", "uv run a.py"])
def test_another_command_is_no_launcher(words: str) -> None:
    assert launch_of(words.split(), PYTHON, Path()) is None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("torchrun --nproc-per-node gpu train.py", "write one, like torchrun --nproc-per-node 8"),
        ("torchrun --nproc-per-node 0 train.py", "is no number"),
        ("torchrun --nproc-per-node 8", "starts no script"),
    ],
)
def test_what_only_the_launcher_would_find_must_be_said(words: str, said: str) -> None:
    with pytest.raises(UsageError) as raised:
        launch_of(words.split(), PYTHON, Path())
    assert said in str(raised.value)


def test_deepspeed_gives_a_local_rank() -> None:
    words = "deepspeed --num_nodes 2 --num_gpus 8 --no_ssh train.py --lr 0.1"
    found = launch_of(words.split(), PYTHON, Path())
    assert found is not None
    assert found.words == (*PYTHON, "-u", "train.py", "--local_rank=0", "--lr", "0.1")
    assert (found.gpus, found.hosts) == (16, 2)
    assert dict(found.environment) == {"LOCAL_SIZE": "8", "CROSS_RANK": "0", "CROSS_SIZE": "2"}


def test_deepspeed_starts_a_module_without_a_local_rank() -> None:
    words = "/env/bin/deepspeed --num_gpus=4 --no_local_rank --module pkg.train x"
    found = launch_of(words.split(), PYTHON, Path())
    assert found is not None
    assert found.words == (*PYTHON, "-u", "-m", "pkg.train", "x")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("deepspeed train.py", "--num_gpus '' of the launcher is no number"),
        ("deepspeed --num_gpus 8", "starts no script"),
        ("deepspeed --include localhost:0,1 train.py", "--include of deepspeed chooses among"),
    ],
)
def test_what_deepspeed_would_look_for(words: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        launch_of(words.split(), PYTHON, Path())
