"""Every result is written as a document and read back, whatever is in its fields."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import is_dataclass, replace
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from planner.config.step import CompileMode, InputSpec, Mode, Offload, SizeAt, StepConfig
from planner.errors import DocumentError
from planner.memory.recorded_batches import RecordedBatches
from planner.results.comparison import CardComparison
from planner.results.curve import Curve
from planner.results.document import KINDS, DocumentKind, json_schema, kind_of_document
from planner.results.estimate import Estimate
from planner.results.result import Result

WORDS = st.text(st.characters(codec="ascii", categories=["L"]), min_size=1, max_size=6)
NUMBERS = st.floats(min_value=0.001, max_value=1e6)
SIZES = st.integers(min_value=1, max_value=1 << 50)
SCALARS = st.one_of(st.booleans(), st.integers(-9, 9), NUMBERS, WORDS, st.none())
NAMED = st.dictionaries(WORDS, SCALARS, max_size=2).map(lambda found: tuple(found.items()))
STEPS = st.builds(
    StepConfig,
    batch_size=SIZES,
    sequence_length=st.none(),
    accumulate=SIZES,
    steps=SIZES,
    mode=st.just(Mode.TRAIN),
    optimizer_arguments=NAMED,
    inputs=st.lists(
        st.builds(InputSpec, shape=st.tuples(SIZES), name=WORDS | st.none()), max_size=2
    ).map(tuple),
    size_at=st.lists(st.builds(SizeAt, file=WORDS, line=SIZES, size=SIZES), max_size=1).map(tuple),
    batch_from_data=st.just(False),
    clip_grad_norm=NUMBERS | st.none(),
    ema=st.none() | st.just(0.5),
    optimizer_in_backward=st.just(False),
    offload=st.just(()) | st.just((Offload.ACTIVATIONS,)),
    checkpoint_blocks=st.none(),
    chunked_loss=st.none() | st.just(8),
    compile=st.none() | st.just(CompileMode.OFF),
)


def of(hint: Any) -> st.SearchStrategy[Any]:
    """Values of an annotated type."""
    origin, parts = get_origin(hint), get_args(hint)
    if hint is StepConfig:
        return STEPS
    if origin in (Union, UnionType):
        return st.one_of(*map(of, parts))
    if origin is tuple and parts[-1] is Ellipsis:
        return st.lists(of(parts[0]), max_size=1).map(tuple)
    if origin is tuple:
        return st.tuples(*map(of, parts))
    if hint is RecordedBatches:
        return st.just(
            RecordedBatches(degree=1, searched=0, batches=(), requests=(), workspaces=())
        )
    if is_dataclass(hint):
        return made(hint)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return st.sampled_from(hint)
    plain: dict[Any, st.SearchStrategy[Any]] = {
        int: SIZES, float: NUMBERS, str: WORDS, bool: st.booleans(), NoneType: st.none()
    }  # fmt: skip
    return plain[hint]


@cache
def made(kind: type[Any]) -> st.SearchStrategy[Any]:
    """Records of a type, with anything in every field."""
    return st.builds(kind, **{name: of(hint) for name, hint in get_type_hints(kind).items()})


def one_currency(found: Result) -> Result:
    """Prices in several currencies cannot be ranked."""
    if not isinstance(found, CardComparison):
        return found
    return replace(found, cards=tuple(replace(card, currency="USD") for card in found.cards))


def through_text(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document as a file would give it."""
    read: dict[str, Any] = json.loads(json.dumps(document))
    return read


KIND = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.command)
MANY = settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))


@KIND
@MANY
@given(data=st.data())
def test_a_complete_document_gives_an_equal_result(kind: DocumentKind, data: st.DataObject) -> None:
    found = one_currency(data.draw(made(kind.result)))
    if isinstance(found, Estimate):  # kept by files alone
        found = replace(found, allocations=(), batches=(), operators=())
    document = through_text(found.to_complete_dict())
    assert kind.result.from_dict(document) == found
    assert kind_of_document(document) is kind


@KIND
@MANY
@given(data=st.data())
def test_a_document_gives_its_figures(kind: DocumentKind, data: st.DataObject) -> None:
    document = one_currency(data.draw(made(kind.result))).to_dict()
    again = kind.result.from_dict(through_text(document)).to_dict()
    assert again == document


@KIND
@MANY
@given(data=st.data())
def test_a_document_is_as_its_types_say(kind: DocumentKind, data: st.DataObject) -> None:
    document = one_currency(data.draw(made(kind.result))).to_dict()
    typed = msgspec.convert(through_text(document), kind.document)
    assert typed == document  # a key that the types lack would be dropped


@KIND
def test_the_schema_names_every_key(kind: DocumentKind) -> None:
    found = json_schema(kind.command)
    for name, one in found["$defs"].items():
        assert one["description"], name
        for key, value in one["properties"].items():
            assert value["description"], f"{name}.{key}"
        assert sorted(one["required"]) == sorted(one["properties"])


def test_there_is_no_schema_of_another_command() -> None:
    with pytest.raises(DocumentError, match="planner gpus has no schema; these have: estimate"):
        json_schema("gpus")


def test_a_record_of_another_version_gives_way_to_the_public_keys(estimate: Estimate) -> None:
    document = through_text(estimate.to_complete_dict())
    document["record"]["counts"] = "in another form"
    assert Estimate.from_dict(document).to_dict() == estimate.to_dict()


def test_a_record_that_contradicts_the_public_keys_does_not_count(estimate: Estimate) -> None:
    document = through_text(estimate.to_complete_dict())
    document["gpus"][0]["peak_reserved_bytes"] += 1
    found = Estimate.from_dict(document).gpus[0]
    assert found.peak_reserved_bytes == estimate.gpus[0].peak_reserved_bytes + 1


def test_keys_that_came_later_may_be_missing(estimate: Estimate) -> None:
    document = through_text(estimate.to_dict())
    for key in ("values", "model_arguments"):
        del document[key]
    for key in ("suggested_batch_reason", "reserved_offset_bytes", "id", "time"):
        del document["gpus"][0][key]
    found = Estimate.from_dict(document)
    assert found.gpus[0].peak_reserved_bytes == estimate.gpus[0].peak_reserved_bytes
    assert (found.gpus[0].id, found.gpus[0].time) == (None, None)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema_version": 2}, "schema_version 2, and this planner knows 1.*update planner"),
        ({"schema_version": None}, "not a result of planner: it has the keys 'schema_version'"),
        ({"gpus": 3}, "cannot be read: .*it was changed or is not whole"),
        ({"gpus": [{"fits": True}]}, "cannot be read"),
        ({"target": 7}, "cannot be read: Expected `str`, got `int`"),
        ({"config": {}}, "the key 'optimizer' is missing"),
        ({"counts": None}, "cannot be read"),
        ({"versions": {"torch": "2"}}, "cannot be read"),
        ({"points": []}, "not a result of planner"),
    ],
    ids=str,
)
def test_what_is_no_result(estimate: Estimate, change: dict[str, Any], said: str) -> None:
    document = through_text(estimate.to_dict()) | change
    with pytest.raises(DocumentError, match=said):
        Estimate.from_dict(document)


def test_a_result_of_another_kind_is_named(estimate: Estimate) -> None:
    with pytest.raises(DocumentError, match=r"of planner estimate, and a Curve was requested"):
        Curve.from_dict(estimate.to_dict())
    with pytest.raises(DocumentError, match="it has the keys none"):
        Curve.from_dict({})


@MANY
@given(
    document=st.recursive(
        SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner)
    ),
    key=st.sampled_from(["gpus", "points", "left_out", "modules", "probes"]),
)
def test_garbage_is_a_clear_error(document: Any, key: str) -> None:
    kind = kind_of_document({"schema_version": 1, key: document})
    with pytest.raises(DocumentError):
        kind.result.from_dict({"schema_version": 1, key: document, "config": document})
