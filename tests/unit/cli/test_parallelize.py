"""`planner parallelize`: options to call, result to stdout, spreads to stderr, exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import planner
from planner.cli.root import root
from planner.config.step import Precision, StepConfig
from planner.errors import UsageError
from planner.questions.parallelize import parallelize
from planner.results.advice import Effect, Lever
from planner.results.estimate import Versions
from planner.results.parallelization import (
    HeldBytes,
    Parallelization,
    ParallelPlan,
    PreferBy,
    SmallestJob,
    SpreadMethod,
    SpreadState,
    SpreadTrial,
)
from planner.units import GIB

pytestmark = pytest.mark.usefixtures("model_file")

VERSIONS = Versions(torch="2.14.1", cuda="13.0", cudnn=None, python="3.11.7", planner="0.1.0")
FSDP = SpreadTrial(
    gpus=8, hosts=1, parallel="fsdp=8", arguments=(), checkpoint="all", levers=("bf16 weights",),
    state=SpreadState.FITS, method=SpreadMethod.RUN, batch_size=2, accumulate=4, max_batch_size=3,
    device_total_bytes=12 * GIB, step_s=0.5, samples_per_s=128.0, slower_factor=1.0,
    cost_per_million=(20.0, 30.0),
)  # fmt: skip
KEPT_WHOLE = replace(
    FSDP, arguments=("reshard_after_forward=false",), device_total_bytes=14 * GIB, step_s=0.55,
    samples_per_s=116.4, slower_factor=1.1,
)  # fmt: skip
DDP = SpreadTrial(
    gpus=8, hosts=1, parallel="ddp=8", arguments=(), checkpoint="any", levers=(),
    state=SpreadState.TOO_LARGE, reason="weights, gradients and optimizer state alone are 40 GiB",
    device_total_bytes=40 * GIB, over_bytes=25 * GIB,
)  # fmt: skip
TENSOR = SpreadTrial(
    gpus=8, hosts=1, parallel="fsdp=4,tp=2", arguments=(), checkpoint="all",
    levers=("bf16 weights",), state=SpreadState.CANNOT_APPLY, reason="the model has no plan",
    method=SpreadMethod.RUN,
)  # fmt: skip


def made_parallelization(*, fits: bool = True) -> Parallelization:
    plan = ParallelPlan(
        spread=FSDP, flags=("--parallel", "fsdp=8"), launch="torchrun --nproc-per-node 8 train.py",
        command="planner estimate model.py --gpu t4 --num-gpus 8 --parallel fsdp=8",
        code=("def parallelize(model, mesh):", '    fully_shard(model, mesh=mesh["dp_shard"])'),
        code_flags=("--parallel", "fsdp=8", "--precision", "as-built"),
        script=('mesh = init_device_mesh("cuda", (8,), mesh_dim_names=("dp_shard",))',),
        peak_reserved_bytes=11 * GIB, usable_memory_bytes=15 * GIB, worst_rank=0,
        rank_reason="all ranks hold and compute alike", global_batch=64, next_batch_size=3,
        tokens_per_s=128 * 4096.0, currency="USD",
    )  # fmt: skip
    return Parallelization(
        target="model.py", by=PreferBy.TIME, gpu="t4", gpu_name="Tesla T4", gpu_id="t4",
        usable_memory_bytes=15 * GIB, reserve_bytes=0, num_gpus=8, num_hosts=1, global_batch=64,
        plan=plan if fits else None,
        spreads=(FSDP, KEPT_WHOLE, DDP, TENSOR) if fits else (DDP,),
        held=(
            HeldBytes(levers=(), parameter_bytes=10 * GIB, gradient_bytes=10 * GIB,
                      optimizer_bytes=140 * GIB),
        ),
        smallest=(
            SmallestJob(levers=(), gpus=16, hosts=2, device_total_bytes=14 * GIB,
                        reason="on 8 cards a run takes 5.00 GiB too much"),
        ),
        levers=(
            Lever(name="bf16 weights", flags=("--precision", "bf16"), code=("model.to(...)",),
                  effect=Effect.LARGE, note="rounded"),
        ),
        config=StepConfig(precision=Precision.FP32), versions=VERSIONS,
    )  # fmt: skip


class Fake:
    """Stands for planner.parallelize: remembers the call, reports a spread, returns or raises."""

    def __init__(self, result: object) -> None:
        self.result = result
        self.options: dict[str, Any] = {}

    def __call__(
        self,
        target: Any,
        *,
        on_progress: Callable[[str], None],
        on_spread: Callable[[SpreadTrial], None],
        **options: Any,
    ) -> object:
        self.options = options
        on_spread(FSDP)
        if isinstance(self.result, BaseException):
            raise self.result
        return self.result


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    function = Fake(made_parallelization())
    monkeypatch.setattr(planner, "parallelize", function)
    return function


def run(*words: str) -> Result:
    return CliRunner().invoke(root, ["parallelize", *words])


def test_the_report_is_as_written(fake: Fake, golden: Callable[[str, str], None]) -> None:
    result = run("model.py", "--gpu", "t4", "--num-gpus", "8", "--global-batch", "64", "-v")
    assert result.exit_code == 0, result.stderr
    assert fake.options["num_gpus"] == 8
    assert fake.options["global_batch"] == 64
    assert fake.options["by"] == "time"
    assert "batch_size" not in fake.options
    assert result.stderr.splitlines()[0] == (
        "tried: fsdp=8, checkpointing all, bf16 weights, micro-batch 2 x 4: fits, 12.0 GiB, "
        "128 samples/s"
    )
    golden("report-parallelize-pipe.txt", result.stdout)


def test_the_document_is_as_written(
    fake: Fake, tmp_path: Path, golden: Callable[[str, str], None]
) -> None:
    file = tmp_path / "kept.planner"
    result = run("model.py", "--gpu", "t4", "--num-gpus", "8", "--json", "--save", str(file))
    golden("parallelize.json", result.stdout)
    document = json.loads(result.stdout)
    assert document == json.loads(json.dumps(made_parallelization().to_dict()))
    assert document["plan"]["samples_per_s_per_gpu"] == 16.0
    assert document["plan"]["tokens_per_s_per_gpu"] == 16.0 * 4096
    assert document["runner_up"]["arguments"] == ["reshard_after_forward=false"]
    assert planner.load(file) == made_parallelization()
    assert Parallelization.from_dict(document) == made_parallelization()
    shown = CliRunner().invoke(root, ["show", str(file)])
    assert shown.stdout == run("model.py", "--gpu", "t4", "--num-gpus", "8").stdout


def test_nothing_that_fits_is_3(fake: Fake) -> None:
    fake.result = made_parallelization(fits=False)
    result = run("model.py", "--gpu", "t4", "--num-gpus", "8")
    assert result.exit_code == 3
    assert "nothing that was tried fits" in result.stdout
    assert "160 GiB, 20.0 GiB a card where they are divided by 8, of 15.0 GiB" in result.stdout
    assert "16 cards on 2 machines, 14.0 GiB each; on 8 cards a run takes" in result.stdout


def test_shown_at_a_prompt_and_in_a_notebook() -> None:
    found = made_parallelization()
    assert repr(found) == (
        "<Parallelization 'model.py' on 8 GPUs t4: fsdp=8, checkpointing all, bf16 weights, "
        "micro-batch 2 x 4>"
    )
    assert "reshard_after_forward=false" in found._repr_html_()
    assert "nothing that was tried fits" in repr(made_parallelization(fits=False))


def test_without_a_number_of_gpus_it_is_wrong_usage() -> None:
    result = run("model.py", "--gpu", "t4")
    assert result.exit_code == 2
    assert "--num-gpus" in result.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"num_gpus": 8, "num_hosts": 3}, "cannot be shared equally by 3 machines"),
        ({"num_gpus": 1, "num_hosts": 2}, "cannot be on 2 machines .* take --num-gpus 2"),
        ({"num_gpus": 0}, "num_gpus must be from 1"),
        ({"num_gpus": 8, "global_batch": 0}, "global_batch must be at least 1"),
        ({"num_gpus": 8, "by": "memory"}, "by 'memory' is not one of time, cost"),
        ({"num_gpus": 8, "batch_size": 4}, "batch_size 4 was given, .* --global-batch"),
        ({"num_gpus": 8, "accumulate": 4}, "accumulate 4 was given, .* --global-batch"),
        ({"num_gpus": 8, "mode": "infer"}, "mode is infer"),
        ({"num_gpus": 8, "gpu": "t4,l4"}, "a job has one kind of card"),
        ({"num_gpus": 16, "num_hosts": 1, "host": "dgx-h100"}, "the host has 8: add --num-hosts 2"),
    ],
)
def test_wrong_words_are_refused_before_a_child_is_started(
    options: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def started(*_: object) -> None:
        raise AssertionError("a child was about to be started")

    monkeypatch.setattr("planner.estimation.session.emulated_device", started)
    with pytest.raises(UsageError, match=said):
        parallelize("model.py", **{"gpu": "h100", **options})


def test_an_error_is_a_message_and_a_code(fake: Fake) -> None:
    fake.result = UsageError("1 GPU cannot be on 2 machines")
    result = run("model.py", "--gpu", "t4", "--num-gpus", "1")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "cannot be on 2 machines" in result.stderr


def test_cards_that_are_full_are_said_to_be(fake: Fake) -> None:
    assert isinstance(fake.result, Parallelization)
    first, *_ = fake.result.smallest
    over = replace(first, gpus=24, hosts=3, device_total_bytes=20 * GIB)
    fake.result = replace(fake.result, smallest=(over,))
    result = run("model.py", "--gpu", "t4", "--num-gpus", "8")
    assert "24 cards on 3 machines, full; 20.0 GiB each where the allocator need" in result.stdout
