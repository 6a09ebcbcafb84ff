"""Meanings of recordings written by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from planner.wire.trace import (
    AllocationEvent,
    AllocationTrace,
    EventKind,
    Origin,
    Phase,
    TensorCategory,
)
from planner.worker.record.allocator_history import History, TracedRequest
from planner.worker.record.attribution import Mark, Note, Observed, attribute
from planner.worker.record.holders import Holding
from planner.worker.record.module_calls import ModuleCall
from planner.worker.record.operator_sites import Site, SiteRequest

PARAMETER = TensorCategory.PARAMETER
GRADIENT = TensorCategory.GRADIENT


def alloc(address: int, size_bytes: int = 1000, **more: Any) -> TracedRequest:
    return TracedRequest(kind=EventKind.ALLOC, address=address, size_bytes=size_bytes, **more)


def free(address: int, kind: EventKind = EventKind.FREE) -> TracedRequest:
    return TracedRequest(kind=kind, address=address, size_bytes=1000)


def attributed(
    requests: Sequence[TracedRequest],
    marks: Sequence[tuple[int, int, Phase]] = (),
    *,
    end: int | None = None,
    inherited: int = 0,
    **more: Any,
) -> AllocationTrace:
    counted = (EventKind.ALLOC, EventKind.FREE, EventKind.FREE_REQUESTED)
    places = tuple(i for i, request in enumerate(requests) if request.kind in counted)
    return attribute(
        Observed(
            history=History(requests=tuple(requests), places=places, inherited=inherited),
            end=len(places) if end is None else end,
            marks=[Mark(position=at, step=step, phase=phase) for at, step, phase in marks],
            **more,
        )
    )


def made(trace: AllocationTrace) -> list[AllocationEvent]:
    return [event for event in trace.events if event.kind is EventKind.ALLOC]


def categories(trace: AllocationTrace) -> list[TensorCategory]:
    return [event.category for event in made(trace)]


def note(position: int, address: int, category: TensorCategory, *name: str) -> Note:
    module, tensor = name or ("", "")
    holding = Holding(address=address, category=category, module=module, tensor=tensor)
    return Note(position=position, holdings=(holding,))


STEP = [
    (0, 1, Phase.BETWEEN_STEPS),
    (1, 1, Phase.FORWARD),
    (3, 1, Phase.BACKWARD),
    (7, 1, Phase.OPTIMIZER_STEP),
]


def test_an_address_that_is_used_again_is_another_block() -> None:
    trace = attributed([alloc(7, 100), free(7), alloc(7, 200), free(7)])
    assert [(event.kind, event.block, event.size_bytes) for event in trace.events] == [
        (EventKind.ALLOC, 0, 100),
        (EventKind.FREE, 0, 100),
        (EventKind.ALLOC, 1, 200),
        (EventKind.FREE, 1, 200),
    ]


def test_events_have_the_phase_in_which_they_happen() -> None:
    trace = attributed([alloc(1), alloc(2), alloc(3), free(2), free(3), alloc(4)], STEP)
    assert [(event.step, event.phase) for event in trace.events] == [
        (1, Phase.BETWEEN_STEPS),
        (1, Phase.FORWARD),
        (1, Phase.FORWARD),
        (1, Phase.BACKWARD),
        (1, Phase.BACKWARD),
        (1, Phase.BACKWARD),
    ]


def test_what_was_made_in_forward_and_lives_in_backward_is_saved() -> None:
    marks = [(0, 1, Phase.FORWARD), (3, 1, Phase.LOSS), (4, 1, Phase.BACKWARD)]
    trace = attributed([alloc(1), alloc(2), free(2), alloc(3), alloc(4), free(3)], marks)
    assert categories(trace) == [
        TensorCategory.SAVED_ACTIVATION,
        TensorCategory.TEMPORARY,  # ended in forward
        TensorCategory.SAVED_ACTIVATION,  # of the loss
        TensorCategory.TEMPORARY,  # made in backward
    ]


def test_the_backward_of_another_step_does_not_count() -> None:
    marks = [(0, 1, Phase.FORWARD), (1, 2, Phase.FORWARD), (2, 2, Phase.BACKWARD)]
    trace = attributed([alloc(1), free(1), alloc(2)], marks)
    assert categories(trace)[0] is TensorCategory.TEMPORARY


@pytest.mark.parametrize(
    "category",
    [PARAMETER, TensorCategory.BUFFER, GRADIENT, TensorCategory.OPTIMIZER_STATE,
     TensorCategory.INPUT],
)  # fmt: skip
def test_who_holds_a_block_names_it(category: TensorCategory) -> None:
    requests = [alloc(5), alloc(6), free(5), alloc(5), free(5), free(6)]
    trace = attributed(requests, STEP, notes=[note(4, 5, category, "layer", "weight")])
    assert [event.category is category for event in made(trace)] == [False, False, True]
    assert trace.origins[made(trace)[2].origin] == Origin(module="layer", tensor="weight")


def test_a_note_is_of_the_block_that_was_live_then() -> None:
    requests = [alloc(5), free(5), alloc(5), free(5)]
    for position, expected in ((1, [True, False]), (2, [False, False]), (3, [False, True])):
        trace = attributed(requests, STEP, notes=[note(position, 5, PARAMETER)])
        assert [category is PARAMETER for category in categories(trace)] == expected


def test_a_parameter_stays_one_whatever_else_holds_it() -> None:
    notes = [note(1, 5, GRADIENT, "layer", "bias"), note(1, 5, PARAMETER, "layer", "weight")]
    trace = attributed([alloc(5)], STEP, notes=notes)
    assert categories(trace) == [PARAMETER]
    assert trace.origins[1].tensor == "weight"


def test_weights_in_one_block_belong_to_the_module_that_holds_them_all() -> None:
    notes = [note(1, 5, PARAMETER, "lstm.cell.a", "w"), note(1, 5, PARAMETER, "lstm.cell.b", "v")]
    trace = attributed([alloc(5)], STEP, notes=notes)
    assert trace.origins[1] == Origin(module="lstm.cell", tensor="")


def seen(site: Site, address: int, **more: Any) -> SiteRequest:
    return SiteRequest(address=address, block_bytes=1024, site=site, **more)


CALLS = (ModuleCall(path="block.linear", source="model.py:3"),)


def test_operator_module_and_line_come_from_the_site() -> None:
    forward = Site(operator="aten::linear", call=0)
    node = Site(operator="AddmmBackward0", call=0, forward=forward)
    silent = Site(operator="aten::relu_", call=0)
    trace = attributed(
        [alloc(1, source="model.py:9"), alloc(2), alloc(3)],
        STEP,
        sites=[seen(forward, 1), seen(node, 2), seen(silent, 3)],
        calls=CALLS,
    )
    assert [trace.origins[event.origin] for event in made(trace)] == [
        Origin(module="block.linear", operator="aten::linear", source="model.py:9"),
        Origin(module="block.linear", operator="AddmmBackward0", source="model.py:9"),
        Origin(module="block.linear", operator="aten::relu_", source="model.py:3"),
    ]
    assert [event.block_bytes for event in made(trace)] == [1024, 1024, 1024]


def test_sites_begin_later_than_the_history() -> None:
    site = Site(operator="aten::add")
    trace = attributed([alloc(1), free(1), alloc(1)], sites=[seen(site, 1)], sites_begin=2)
    assert [trace.origins[event.origin].operator for event in made(trace)] == ["", "aten::add"]


def test_an_address_seen_less_often_than_it_was_used_gets_no_operator() -> None:
    site = Site(operator="aten::add")
    trace = attributed([alloc(1), free(1), alloc(1), alloc(2)], sites=[seen(site, 1)])
    assert {event.origin for event in trace.events} == {0}


def test_blocks_of_the_build_have_the_size_they_had_at_its_end() -> None:
    requests = [alloc(1), free(1), alloc(2), alloc(3)]
    trace = attributed(requests, sites_begin=3, built_bytes={1: 4096, 2: 2048, 3: 9})
    assert [event.block_bytes for event in made(trace)] == [0, 2048, 0]


TWO_STEPS = [(0, 1, Phase.FORWARD), (4, 1, Phase.BACKWARD), (4, 2, Phase.FORWARD),
             (5, 2, Phase.BACKWARD), (6, 3, Phase.BETWEEN_STEPS)]  # fmt: skip


@pytest.mark.parametrize(
    ("inner", "scratch", "stays", "expected"),
    [
        ("aten::mm", False, True, TensorCategory.WORKSPACE),  # cuBLAS keeps it
        ("aten::mm", False, False, TensorCategory.SAVED_ACTIVATION),  # the product
        ("aten::cudnn_convolution", True, False, TensorCategory.WORKSPACE),
        ("aten::gelu", True, False, TensorCategory.SAVED_ACTIVATION),
        ("aten::gelu", False, True, TensorCategory.BUFFER),  # kept by the model's code
    ],
)
def test_workspaces(inner: str, scratch: bool, stays: bool, expected: TensorCategory) -> None:
    requests = [alloc(1), alloc(2), alloc(3), free(3), free(2), alloc(9)]
    if not stays:
        requests[4] = free(1)
    sites = [seen(Site(), 1, inner=inner, scratch=scratch)]
    assert categories(attributed(requests, TWO_STEPS, sites=sites))[0] is expected


@pytest.mark.parametrize("size_bytes", [8_519_680, 32 << 20, 4096])
def test_in_a_single_step_a_workspace_of_cublas_is_known_by_its_size(size_bytes: int) -> None:
    site = seen(Site(), 1, inner="aten::addmm")
    trace = attributed([alloc(1, size_bytes)], [(0, 1, Phase.FORWARD)], sites=[site])
    expected = TensorCategory.TEMPORARY if size_bytes == 4096 else TensorCategory.WORKSPACE
    assert categories(trace) == [expected]


def test_what_stays_from_the_build_on_and_belongs_to_nobody() -> None:
    requests = [alloc(1), alloc(2), alloc(3, source="model.py:4"), alloc(4), free(4), alloc(5)]
    trace = attributed(requests, [(5, 1, Phase.FORWARD)], inherited=1)
    assert categories(trace)[:4] == [
        TensorCategory.UNATTRIBUTED,  # was there before the run
        TensorCategory.WORKSPACE,  # torch's own code asked for it
        TensorCategory.UNATTRIBUTED,  # the user's code did
        TensorCategory.TEMPORARY,
    ]


def test_a_block_of_backward_that_nobody_holds_and_that_stays_is_unattributed() -> None:
    marks = [(0, 1, Phase.BACKWARD), (1, 2, Phase.FORWARD), (2, 3, Phase.FORWARD)]
    trace = attributed([alloc(1), alloc(2), alloc(3)], marks)
    assert categories(trace)[0] is TensorCategory.UNATTRIBUTED


def test_the_trace_ends_with_the_last_step() -> None:
    requests = [alloc(1), TracedRequest(kind=EventKind.EMPTY_CACHE), free(1), alloc(2)]
    trace = attributed(requests, end=1)
    assert [event.kind for event in trace.events] == [EventKind.ALLOC, EventKind.EMPTY_CACHE]
    assert len(attributed(requests, end=3).events) == 4


def test_a_free_that_waits_for_another_stream() -> None:
    requests = [
        alloc(1),
        free(1, EventKind.FREE_REQUESTED),
        alloc(2),
        free(1, EventKind.FREE_COMPLETED),
        alloc(1),
    ]
    trace = attributed(requests, [(0, 1, Phase.FORWARD), (3, 1, Phase.BACKWARD)])
    assert [event.block for event in trace.events] == [0, 0, 1, 0, 2]
    assert [event.phase for event in trace.events][-1] is Phase.BACKWARD


def test_a_free_of_what_was_never_asked_for_is_no_event() -> None:
    assert attributed([free(1), alloc(2)]).events[0].kind is EventKind.ALLOC


def test_equal_origins_are_stored_once() -> None:
    site = Site(operator="aten::add")
    trace = attributed([alloc(1), alloc(2)], sites=[seen(site, 1), seen(site, 2)])
    assert trace.origins == (Origin(), Origin(operator="aten::add"))
