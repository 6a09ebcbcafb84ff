"""Every record survives the wire; anything else is an error."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.config.model_shapes import ModelShapes, WeightShape
from planner.config.step import InputSpec, OptimizerName, Precision, StepConfig
from planner.config.target import Target, TargetKind
from planner.errors import ChildError
from planner.wire.data_cost import DataCost
from planner.wire.jobs import CountJob, DataJob, NeedsValues, RunAnswer, RunJob, ShapesJob
from planner.wire.module_counts import FlopRules, ModelCounts, StepCounts, Structure
from planner.wire.protocol import (
    ChildFailure,
    ChildVersions,
    JobEnded,
    JobRequest,
    Loaded,
    LoadRequest,
    Message,
    decode,
    encode,
)
from planner.wire.trace import (
    AllocationEvent,
    AllocationTrace,
    Counts,
    EventKind,
    Failure,
    FlopSource,
    OperatorRecord,
    Phase,
    Recording,
    RequestLog,
    RunOutcome,
    StepTrace,
    TensorShape,
)
from planner.wire.value_reads import (
    Decision,
    ReadLog,
    ReadSite,
    ValueRead,
    ValuesPass,
    ValuesRequest,
)

TRACE = StepTrace(
    outcome=RunOutcome.MODEL_ERROR,
    batch_size=3,
    peak_allocated_bytes=1 << 45,
    peak_active_bytes=2,
    peak_reserved_bytes=3,
    step_peak_allocated_bytes=(4, 5),
    counts=Counts(parameters=1, trainable_parameters=1, buffers=0),
    attention_backends=("flash",),
    value_reads=(
        ValueRead(
            file="a.py", line=3, function="f", count=2, decision=Decision.SIZE, bounds=(0, 4)
        ),
    ),
    parted_reads=(ReadSite(),),
    failure=Failure(kind="ValueError", message="line 1\nline 2 \x00 \udcff é", during="step 1"),
)
CONFIG = StepConfig(
    batch_size=5,
    precision=Precision.AMP_BF16,
    optimizer=OptimizerName.SGD_MOMENTUM,
    optimizer_arguments=(("lr", 0.5), ("nesterov", True), ("n", 3), ("s", "3"), ("x", None)),
    inputs=(InputSpec(shape=(3, 4), dtype="int64", name="ids"), InputSpec(shape=())),
)

READ = ReadLog(
    sites=(ReadSite(file="a.py", line=3, function="f"), ReadSite()),
    site_of=(1, 0),
    sizes_bytes=(8, 1),
    contents=("AQAAAAAAAAA=", ""),
    reads=TRACE.value_reads,
    seed=2,
)
COUNTS = ModelCounts(
    counts=Counts(parameters=1, trainable_parameters=1, buffers=0),
    step=StepCounts(forward_flops_per_sample=1, step_flops=3, activations_per_sample=None),
    modules=(),
    structure=Structure.WHOLE_MODEL,
    flop_rules=FlopRules.TORCH,
    forward_flops_by_torch=1,
    build_on="meta",
    operators=(
        OperatorRecord(
            name="my::kernel",
            phase=Phase.OPTIMIZER_STEP,
            inputs=(TensorShape(shape=(), dtype="bool", number=2),),
            outputs=(),
            calls=3,
            flops=None,
            flop_source=FlopSource.UNKNOWN,
            read_bytes=2,
            written_bytes=1 << 45,
        ),
    ),
)
LOG = RequestLog(
    kinds=tuple(EventKind),
    blocks=tuple(range(len(EventKind))),
    sizes_bytes=(1 << 45,) * len(EventKind),
    streams=(0,) * (len(EventKind) - 1) + (3,),
)
ANSWER = RunAnswer(trace=TRACE)
COST = DataCost(
    items=3, cpu_mean_s=0.5, cpu_median_s=0.25, wall_mean_s=1.0, wall_median_s=1.0, item_bytes=None,
    collate_s=None,
)  # fmt: skip
SHAPES = ModelShapes(
    tensors=(WeightShape(name="w", shape=(2, 3), dtype="float16", count=4),), config="{}",
    has_vision=False, built_by="a class",
)  # fmt: skip
EVENTS = tuple(AllocationEvent(kind=kind, block=1, size_bytes=2) for kind in EventKind)


@pytest.mark.parametrize(
    "record",
    [
        LoadRequest(
            target=Target(kind=TargetKind.FILE, location="m.py", arguments=(("k", 1.0),)),
            libraries=("/a", "/b"),
            driver_folder="/d",
            profile="name=x\n",
        ),
        Loaded(versions=ChildVersions(torch="2.6", cuda="12.4", python="3.10"), single_run="why"),
        Loaded(failure=ChildFailure(error="TargetError", message="no\nmodel")),
        JobRequest(number=7, job=RunJob(profile="", config=CONFIG)),
        JobRequest(number=7, job=RunJob(profile="", config=CONFIG, recording=Recording.REQUESTS)),
        JobRequest(
            number=7,
            job=RunJob(
                profile="",
                config=CONFIG,
                values=ValuesRequest(kind=ValuesPass.ANSWERED, log=READ),
            ),
        ),
        JobRequest(number=9, job=CountJob(profile="", config=CONFIG, depth=0)),
        JobRequest(number=9, job=DataJob(seconds=0.5)),
        JobRequest(number=9, job=ShapesJob()),
        JobEnded(number=9, delivered=SHAPES, exit_code=0),
        JobEnded(number=7, delivered=RunAnswer(trace=TRACE), exit_code=0),
        JobEnded(number=7, delivered=RunAnswer(trace=TRACE, log=READ)),
        JobEnded(number=7, delivered=NeedsValues(), exit_code=0),
        JobEnded(number=7, delivered=ChildFailure(error="ModelError", message="m"), exit_code=0),
        JobEnded(number=8, signal=9),
        JobEnded(number=9, delivered=RunAnswer(trace=TRACE, requests=LOG), exit_code=0),
        JobEnded(number=9, delivered=COUNTS, exit_code=0),
        JobEnded(number=9, delivered=COST, exit_code=0),
        NeedsValues(),
        RunAnswer(trace=TRACE, requests=LOG),
        RunAnswer(trace=TRACE, allocations=AllocationTrace(events=EVENTS)),
        COUNTS,
    ],
    ids=lambda record: type(record).__name__,
)
def test_round_trip(record: Message) -> None:
    line = encode(record)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    found = decode(line, (type(record),))
    assert found == record
    assert repr(found) == repr(record)  # 1 stays 1 and True stays True


@given(
    st.lists(
        st.tuples(
            st.text(),
            st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
        )
    )
)
def test_any_argument_survives(arguments: list[tuple[str, object]]) -> None:
    config = StepConfig(optimizer_arguments=tuple(arguments))  # type: ignore[arg-type] # any text
    sent = JobRequest(number=1, job=RunJob(profile="", config=config))
    job = decode(encode(sent), (JobRequest,)).job
    assert isinstance(job, RunJob)
    found = job.config.optimizer_arguments
    assert len(found) == len(arguments)
    for (name, value), (wanted_name, wanted) in zip(found, arguments, strict=True):
        assert name == wanted_name
        assert type(value) is type(wanted)
        both_nan = isinstance(wanted, float) and isinstance(value, float) and math.isnan(wanted)
        assert math.isnan(value) if both_nan else value == wanted  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"not json\n",
        b"[]\n",
        b"{}\n",
        b"\xff\xfe\n",
        b'{"kind": "Nothing", "body": {}}\n',
        b'{"kind": "JobEnded", "body": {}}\n',
        b'{"kind": "JobEnded", "body": {"number": "many"}}\n',
        b'{"kind": "JobEnded", "body": {"number": 1, "delivered": 3}}\n',
        b'{"kind": "JobEnded", "body": {"number": 1, "delivered": {"kind": "Loaded"}}}\n',
        b'{"kind": "JobEnded", "body": {"number": 1, "delivered": {"kind": "RunAnswer"}}}\n',
        b'{"kind": "JobRequest", "body": {"number": 1, "job": null}}\n',
        encode(ANSWER)[: len(encode(ANSWER)) // 2],
    ],
)
def test_garbage_is_an_error_that_shows_it(line: bytes) -> None:
    with pytest.raises(ChildError, match="something unreadable") as caught:
        decode(line, (JobEnded, JobRequest, RunAnswer))
    assert repr(line[:50])[2:20] in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        {"kinds": "a" * len(EventKind) + "f"},
        {"kinds": "?" * len(EventKind)},
        {"kinds": 3},
        {"blocks": ["x"] * len(EventKind)},
        {"streams": []},
    ],
)
def test_requests_that_cannot_be_are_an_error(change: dict[str, object]) -> None:
    document = json.loads(encode(RunAnswer(trace=TRACE, requests=LOG)))
    document["body"]["requests"].update(change)
    with pytest.raises(ChildError, match="something unreadable"):
        decode(json.dumps(document).encode(), (RunAnswer,))


def test_requests_that_are_no_object_are_an_error() -> None:
    document = json.loads(encode(RunAnswer(trace=TRACE, requests=LOG)))
    document["body"]["requests"] = 7
    with pytest.raises(ChildError, match="something unreadable"):
        decode(json.dumps(document).encode(), (RunAnswer,))


def test_columns_have_one_length() -> None:
    with pytest.raises(ValueError, match="columns of 1, 2, 1, 1 entries"):
        RequestLog(kinds=(EventKind.ALLOC,), blocks=(0, 1), sizes_bytes=(1,), streams=(0,))


def test_a_record_out_of_turn_is_an_error() -> None:
    with pytest.raises(ChildError, match="sent JobEnded out of turn"):
        decode(encode(JobEnded(number=1)), (Loaded,))


def test_garbage_is_shown_cut() -> None:
    line = json.dumps({"kind": "x" * 10_000}).encode()
    with pytest.raises(ChildError) as caught:
        decode(line, (Loaded,))
    assert len(str(caught.value)) < 400


class _Text(str):
    """As torch.__version__ is one."""


class _Shape(tuple[int, ...]):
    """As torch.Size is one."""


def test_values_of_subclasses_arrive_as_plain_ones() -> None:
    versions = ChildVersions(torch=_Text("2.6"), cuda="12.4", python="3.10")
    found = decode(encode(Loaded(versions=versions)), (Loaded,)).versions
    assert found is not None
    assert type(found.torch) is str
    config = StepConfig(inputs=(InputSpec(shape=_Shape((3, 4))),))
    job = decode(
        encode(JobRequest(number=1, job=RunJob(profile="", config=config))), (JobRequest,)
    ).job
    assert isinstance(job, RunJob)
    assert job.config.inputs == (InputSpec(shape=(3, 4)),)


def test_what_cannot_be_sent_is_an_error() -> None:
    versions = ChildVersions(torch=object(), cuda="", python="")  # type: ignore[arg-type] # wrong
    with pytest.raises(TypeError, match="a object cannot be sent"):
        encode(Loaded(versions=versions))
