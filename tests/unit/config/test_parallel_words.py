"""How a job is spread over several GPUs, as a caller writes it."""

from __future__ import annotations

from typing import Any

import pytest

from planner.config.parallel import ComputeDtype, DataParallel, ParallelConfig
from planner.config.parse import step_config
from planner.errors import UsageError


def parallel(**options: Any) -> ParallelConfig:
    """The spread of a job with these options."""
    found = step_config(options).parallel
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("options", "words", "dimensions"),
    [
        pytest.param(
            {"num_gpus": 8, "parallel": "fsdp"}, "fsdp=8", (("dp_shard", 8),), id="what is left"
        ),
        pytest.param(
            {"parallel": "fsdp=8,tp=4"}, "fsdp=8,tp=4", (("dp_shard", 8), ("tp", 4)), id="product"
        ),
        pytest.param(
            {"num_gpus": 32, "parallel": "tp=4, FSDP"},
            "fsdp=8,tp=4",
            (("dp_shard", 8), ("tp", 4)),
            id="any order and case",
        ),
        pytest.param(
            {"parallel": "hsdp=2x8"},
            "hsdp=2x8",
            (("dp_replicate", 2), ("dp_shard", 8)),
            id="replicas of shards",
        ),
        pytest.param({"num_gpus": 2}, "ddp=2", (("dp_replicate", 2),), id="ddp where none is said"),
        pytest.param(
            {"num_gpus": 4, "parallel": "zero1"}, "zero1=4", (("dp_replicate", 4),), id="zero1"
        ),
        pytest.param(
            {"parallel": "ep=8"}, "fsdp=8,ep=8", (("efsdp", 1), ("ep", 8)), id="experts alone"
        ),
        pytest.param(
            {"num_gpus": 16, "parallel": "ep=8"},
            "fsdp=16,ep=8",
            (("efsdp", 2), ("ep", 8)),
            id="experts over some of the shards",
        ),
        pytest.param({"parallel": "cp=4"}, "fsdp=1,cp=4", (("cp", 4),), id="cp shards with FSDP"),
        pytest.param({"parallel": "tp=2"}, "tp=2", (("tp", 2),), id="tp alone"),
        pytest.param({"parallel": "pp=4"}, "pp=4,1f1b", (("pp", 4),), id="pp alone"),
        pytest.param(
            {"num_gpus": 16, "parallel": "fsdp,pp=2,zbv"},
            "pp=2,zbv,fsdp=8",
            (("pp", 2), ("dp_shard", 8)),
            id="pp is outermost",
        ),
        pytest.param(
            {"num_gpus": 1, "parallel": "fsdp"}, "fsdp=1", (("dp_shard", 1),), id="one GPU"
        ),
    ],
)
def test_the_degrees_of_a_job(
    options: dict[str, Any], words: str, dimensions: tuple[tuple[str, int], ...]
) -> None:
    found = parallel(**options)
    assert found.words == words
    assert found.dimensions == dimensions
    product = 1
    for _, degree in dimensions:
        product *= degree
    assert found.gpus == product


def test_a_job_without_these_options_runs_on_one_gpu() -> None:
    assert step_config({}).parallel is None
    assert step_config({"num_gpus": 1}).parallel is None


@pytest.mark.parametrize(
    ("gpus", "hosts", "expected"),
    [(8, None, 1), (16, None, 2), (12, None, 2), (10, None, 2), (7, None, 1), (8, 4, 4)],
)
def test_a_host_has_at_most_eight_gpus_unless_said(
    gpus: int, hosts: int | None, expected: int
) -> None:
    found = parallel(num_gpus=gpus, num_hosts=hosts, parallel="ddp")
    assert found.hosts == expected
    assert found.gpus_of_a_host * expected == gpus


def test_the_knobs_have_the_names_of_pytorch() -> None:
    found = parallel(
        num_gpus=8,
        parallel="fsdp",
        parallel_arguments={
            "reshard_after_forward": False, "reduce_dtype": "bfloat16", "wrap": "Block,head",
            "prefetch": 2, "cpu_offload": True,
        },
    ).fsdp  # fmt: skip
    assert found.reshard_after_forward is False
    assert found.reduce_dtype is ComputeDtype.BF16
    assert found.param_dtype is None
    assert found.wrap == ("Block", "head")
    assert found.prefetch == 2
    assert (found.cpu_offload, found.pin_memory) == (True, True)
    ddp = parallel(
        num_gpus=2, parallel="zero1", parallel_arguments=["bucket_cap_mb=100", "static_graph=true"]
    )
    assert ddp.data is DataParallel.ZERO1
    assert ddp.ddp.bucket_cap_mb == 100.0
    assert ddp.ddp.static_graph


@pytest.mark.parametrize(
    ("options", "said"),
    [
        pytest.param(
            {"num_gpus": 8, "parallel": "fsdp=3"}, "take --num-gpus 9", id="does not divide"
        ),
        pytest.param(
            {"num_gpus": 8, "parallel": "tp=4"}, "take --num-gpus 4, or add fsdp=2 or ddp=2",
            id="too few degrees",
        ),
        pytest.param(
            {"num_gpus": 8, "parallel": "fsdp=4"}, "take --num-gpus 4", id="fewer than there are"
        ),
        pytest.param({"parallel": "fsdp"}, "add --num-gpus 8", id="no number"),
        pytest.param({"parallel": "fdsp=8"}, "did you mean fsdp", id="a typing error"),
        pytest.param(
            {"parallel": "mesh"}, "known: ddp, zero1, fsdp, hsdp, cp, tp, pp", id="unknown"
        ),
        pytest.param({"parallel": "pp"}, "like pp=4", id="pp needs one"),
        pytest.param({"num_gpus": 4, "parallel": "1f1b"}, "like pp=4,1f1b", id="an order alone"),
        pytest.param({"parallel": "pp=2,1f1b,zbv"}, "one of them after pp", id="two orders"),
        pytest.param({"parallel": "pp=2,1f2b"}, "did you mean 1f1b", id="no such order"),
        pytest.param({"parallel": "pp=2,cp=2"}, "leave one of them out", id="pp and cp"),
        pytest.param({"parallel": "pp=2,zero1=2"}, "leave one of them out", id="pp and zero1"),
        pytest.param(
            {"num_gpus": 2, "microbatches": 4}, "take --accumulate 4", id="no pipeline to fill"
        ),
        pytest.param({"microbatches": 4}, "add --num-gpus", id="micro-batches alone"),
        pytest.param(
            {"parallel": "pp=4", "microbatches": 2}, "take --microbatches 4", id="too few for 1f1b"
        ),
        pytest.param(
            {"parallel": "pp=4,interleaved", "microbatches": 9}, "take --microbatches 8",
            id="uneven rounds",
        ),
        pytest.param(
            {"parallel": "pp=2", "parallel_arguments": {"split": "1:2:3"}}, "split=8:8:8:8",
            id="a split of other stages",
        ),
        pytest.param(
            {"parallel": "pp=2", "parallel_arguments": {"split": "1,2"}}, "like 8:8:8:8",
            id="no split",
        ),
        pytest.param(
            {"parallel": "pp=2,zbv", "parallel_arguments": {"stages_of_a_rank": 3}},
            "take interleaved", id="a V of three",
        ),
        pytest.param({"parallel": "hsdp=8"}, "like hsdp=2x8", id="hsdp needs two"),
        pytest.param({"parallel": "tp"}, "like tp=4", id="tp needs one"),
        pytest.param({"parallel": "tp=0"}, "like tp=4", id="a degree of 0"),
        pytest.param({"parallel": "fsdp=8,ddp=2"}, "leave one of them out", id="two strategies"),
        pytest.param({"parallel": "tp=2,tp=4"}, "write it once", id="twice"),
        pytest.param({"parallel": "ddp=2,tp=4"}, "take fsdp with tp=4", id="ddp and tp"),
        pytest.param({"num_gpus": 0}, "num_gpus must be from 1", id="no GPU"),
        pytest.param(
            {"num_gpus": 8, "num_hosts": 3}, "take --num-gpus 9", id="unequal hosts"
        ),
        pytest.param({"num_hosts": 2}, "add --num-gpus", id="hosts alone"),
        pytest.param(
            {"parallel_arguments": {"prefetch": 1}}, "add --num-gpus", id="a knob alone"
        ),
        pytest.param(
            {"num_gpus": 2, "parallel_arguments": {"reshard_after_forward": True}},
            "belongs to fsdp", id="a knob of another",
        ),
        pytest.param(
            {"num_gpus": 2, "parallel_arguments": {"bucket_cap": 1}}, "did you mean bucket_cap_mb",
            id="an unknown knob",
        ),
        pytest.param(
            {"num_gpus": 2, "parallel": "fsdp", "parallel_arguments": {"param_dtype": "int8"}},
            "must be fp32, bf16 or fp16", id="a wrong dtype",
        ),
        pytest.param(
            {"num_gpus": 2, "parallel": "fsdp", "parallel_arguments": {"prefetch": 0}},
            "must be a number of blocks", id="a wrong number",
        ),
        pytest.param(
            {"num_gpus": 2, "parallel": "fsdp", "parallel_arguments": {"pin_memory": False}},
            "add --parallel-arg cpu_offload=true", id="pinned memory of nothing",
        ),
        pytest.param(
            {"num_gpus": 2, "parallel": "ddp", "parallel_arguments": {"cpu_offload": True}},
            "belongs to fsdp", id="offload without shards",
        ),
        pytest.param({"parallel": "fsdp=6,ep=4"}, "take 8 GPUs", id="experts of some ranks alone"),
        pytest.param({"parallel": "ep=4,tp=2"}, "together with tp yet", id="experts and tp"),
        pytest.param({"parallel": "ddp=4,ep=4"}, "together with ddp yet", id="experts and ddp"),
        pytest.param({"num_gpus": True}, "num_gpus must be a whole number", id="a flag"),
        pytest.param({"parallel": 8}, "parallel must be text", id="a number"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_with_what_to_type(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as raised:
        step_config(options)
    assert said in str(raised.value)
