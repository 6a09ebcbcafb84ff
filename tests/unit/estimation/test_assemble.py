"""From the answers of the cards to one Estimate."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from planner.config.step import StepConfig
from planner.estimation.alloc_conf import AllocatorPlan
from planner.estimation.assemble import assemble
from planner.estimation.device_memory import DeviceMemory
from planner.estimation.size_axes import FramesAxis, ImageAxis
from planner.memory.budget import Calibration, calibrated, memory_budgets, with_outside
from planner.memory.interval import ErrorInterval, NoInterval
from planner.memory.largest import LargestValue, Method
from planner.memory.probe import Probe, ProbeOutcome
from planner.memory.search import BOUND, Capacity
from planner.results.estimate import Estimate, Versions
from planner.results.values import ValuesResult
from planner.units import GIB, MIB
from planner.wire.trace import Counts, OutsideMemory, RunOutcome, StepTrace
from planner.wire.value_reads import Decision, ValueRead

VERSIONS = Versions(torch="2.14.1", cuda="13.0", cudnn=None, python="3.11.7", planner="0.1.0")
TRACE = StepTrace(
    outcome=RunOutcome.COMPLETED,
    batch_size=8,
    peak_allocated_bytes=5 * GIB,
    peak_active_bytes=5 * GIB,
    peak_reserved_bytes=6 * GIB,
    optimizer="AdamW",
    build_on="meta",
    counts=Counts(parameters=10, trainable_parameters=9, buffers=1),
    attention_backends=("flash",),
)


def answer(
    card: str = "t4",
    batch: LargestValue | None = None,
    sequence: LargestValue | None = None,
    empties_cache: int = 0,
    **trace: Any,
) -> DeviceMemory:
    (budget,) = memory_budgets([card], hardware_db=None, gpu_memory=None, reserve="1GiB")
    return DeviceMemory(
        budget=budget,
        trace=replace(TRACE, **trace),
        fits=True,
        batch=batch,
        sequence=sequence,
        empties_cache=empties_cache,
    )


def largest(value: int, *probes: Probe, **more: Any) -> LargestValue:
    capacity = Capacity(largest=value, is_bound=value == BOUND, probes=probes)
    given = {"method": Method.REPLAY, "is_confirmed": True, **more}
    return LargestValue(capacity=capacity, **given)


def summary(*answers: DeviceMemory, run_warnings: tuple[str, ...] = (), **config: Any) -> Estimate:
    return assemble("net.py", StepConfig(**config), answers, VERSIONS, run_warnings)


def test_figures_come_from_trace_and_card() -> None:
    found = summary(answer(), answer("rtx3090", peak_reserved_bytes=7 * GIB))
    assert (found.target, found.optimizer, found.build_on) == ("net.py", "AdamW", "meta")
    assert (found.counts, found.versions) == (TRACE.counts, VERSIONS)
    t4, rtx3090 = found.gpus
    assert (t4.requested, t4.name) == ("t4", "Tesla T4")
    assert (t4.usable_memory_bytes, t4.context_overhead_bytes) == (14909 * MIB, 198 * MIB)
    assert (t4.peak_allocated_bytes, t4.peak_reserved_bytes) == (5 * GIB, 6 * GIB)
    assert t4.reserve_bytes == GIB
    assert t4.attention_backends == ("flash",)
    assert (t4.max_batch_size, t4.max_batch_is_bound) == (None, False)
    assert rtx3090.peak_reserved_bytes == 7 * GIB


def with_unified_memory(reserved_bytes: int, *, fits: bool) -> DeviceMemory:
    """On a T4 (14.6 GiB), 4 GiB of unified memory and 1 GiB of another library's."""
    taken = OutsideMemory(total_bytes=5 * GIB, managed_bytes=4 * GIB)
    plain = answer("t4", outside=taken, peak_reserved_bytes=reserved_bytes)
    return replace(plain, budget=with_outside(plain.budget, taken.total_bytes), fits=fits)


def test_what_libraries_take_themselves_is_in_the_device_total() -> None:
    (entry,) = summary(with_unified_memory(6 * GIB, fits=True)).gpus
    assert (entry.outside_bytes, entry.managed_bytes) == (5 * GIB, 4 * GIB)
    assert entry.device_total_bytes == 11 * GIB + entry.context_overhead_bytes
    assert entry.to_dict()["outside_bytes"] == 5 * GIB


@pytest.mark.parametrize(("reserved_gib", "runs"), [(10, True), (13, False)])
def test_a_step_that_fits_without_its_unified_memory_runs(reserved_gib: int, runs: bool) -> None:
    found = summary(with_unified_memory(reserved_gib * GIB, fits=False))
    assert any("does not fit as a whole, but runs" in text for text in found.warnings) is runs
    assert found.gpus[0].missing_bytes > 0
    assert summary(with_unified_memory(reserved_gib * GIB, fits=True)).warnings == ()


def test_what_a_name_was_taken_for_is_an_assumption() -> None:
    found = summary(answer("a100"), answer("t4"))
    note = found.gpus[0].note
    assert note is not None
    assert found.assumptions == (f"a100: {note}",)


def test_texts_of_all_cards_are_said_once_others_name_their_card() -> None:
    found = summary(
        answer("t4", assumptions=("everywhere", "here"), warnings=("on both",)),
        answer("rtx3090", assumptions=("everywhere",), warnings=("on both",)),
    )
    assert found.assumptions == ("everywhere", "t4: here")
    assert found.warnings == ("on both",)


def test_the_values_are_those_of_the_first_card() -> None:
    read = ValueRead(
        file="/net.py", line=1, function="f", count=1, assumed=1, decision=Decision.SIZE
    )
    values = ValuesResult(reads=(read,))
    found = summary(replace(answer("t4", batch=largest(12)), values=values))
    assert found.values is values
    assert found.warnings == values.warnings()
    assert found.gpus[0].max_batch_confirmed is False


def test_a_largest_batch_of_known_values_stays_confirmed() -> None:
    read = ValueRead(file="/net.py", line=1, function="f", count=1)
    values = ValuesResult(reads=(read,))
    found = summary(replace(answer("t4", batch=largest(12)), values=values))
    assert found.gpus[0].max_batch_confirmed is True
    assert not found.warnings


def test_a_largest_batch_comes_with_how_it_was_found() -> None:
    found = summary(answer(batch=largest(12)))
    card = found.gpus[0]
    assert (card.max_batch_size, card.max_batch_confirmed, card.max_batch_method) == (
        12, True, "replay",
    )  # fmt: skip
    assert (card.max_sequence_length, card.max_sequence_confirmed) == (None, None)
    assert (found.assumptions, found.warnings) == ((), ())


def test_a_longest_sequence_is_in_tokens() -> None:
    (card,) = summary(answer(batch=largest(12), sequence=largest(5))).gpus
    assert (card.max_sequence_length, card.max_sequence_confirmed) == (640, True)


IMAGES, CLIPS = ImageAxis(height=512, width=768, unit=64), FramesAxis(frames=17, unit=4)


def test_the_largest_image_and_the_most_frames_are_in_pixels_and_frames() -> None:
    sizes = ((IMAGES, largest(16)), (CLIPS, largest(8, is_confirmed=False)))
    (card,) = summary(replace(answer(), sizes=sizes)).gpus
    assert (card.max_image, card.max_image_confirmed) == ((1024, 1536), True)
    assert (card.max_frames, card.max_frames_confirmed) == (29, False)
    assert card.to_dict()["max_image"] == [1024, 1536]
    (card,) = summary(answer()).gpus
    assert (card.max_image, card.max_image_confirmed) == (None, None)
    assert (card.max_frames, card.max_frames_confirmed) == (None, None)


def test_what_ended_the_search_of_a_size_is_said() -> None:
    beyond = Probe(value=17, outcome=ProbeOutcome.MODEL_ERROR, detail="too many positions")
    by_runs = largest(8, method=Method.RUNS, reason="they are not alike")
    found = summary(replace(answer(), sizes=((IMAGES, largest(16, beyond)), (CLIPS, by_runs))))
    assert found.warnings == (
        "t4: image 1088x1664 fails for another reason than memory: too many positions",
    )
    assert found.assumptions == (
        "the largest number of frames was searched by runs: they are not alike",
    )


def test_a_size_that_no_memory_depends_on_has_no_largest_one() -> None:
    endless = largest(BOUND, has_no_limit=True)
    found = summary(replace(answer(), sizes=((IMAGES, endless),)))
    assert found.gpus[0].max_image is None
    assert found.warnings == (
        "no memory of the step depends on the image: there is no largest one",
    )


def test_why_a_search_took_runs_is_said() -> None:
    batch = largest(12, method=Method.RUNS, reason="the run could not be recorded")
    (text,) = summary(answer(batch=batch)).assumptions
    assert text == "the largest batch was searched by runs: the run could not be recorded"


def test_a_search_that_met_its_bound_warns() -> None:
    found = summary(answer(batch=largest(BOUND)))
    assert found.max_batch_size == BOUND
    assert found.gpus[0].max_batch_is_bound
    (warning,) = found.warnings
    assert warning.startswith("t4: the search for the largest batch stopped at its bound of 16777")


def test_a_step_without_a_batch_axis_has_no_largest_batch() -> None:
    found = summary(answer(batch=largest(BOUND, has_no_limit=True, is_confirmed=False)))
    card = found.gpus[0]
    assert (card.max_batch_size, card.max_batch_confirmed) == (None, None)
    assert not card.max_batch_is_bound
    assert found.warnings == (
        "no memory of the step depends on the batch: there is no largest one",
    )


def test_a_batch_that_fails_for_another_reason_warns() -> None:
    probe = Probe(value=5, outcome=ProbeOutcome.MODEL_ERROR, detail="ValueError: odd")
    found = summary(answer(batch=largest(4, probe)))
    assert found.warnings == ("t4: batch 5 fails for another reason than memory: ValueError: odd",)


def test_a_cache_that_the_model_empties_is_said() -> None:
    (text,) = summary(answer(empties_cache=3)).assumptions
    assert text.startswith("the model's code empties the allocator's cache (3 times)")


def test_of_every_card_it_is_said_that_batches_were_not_run() -> None:
    batch = largest(12, is_confirmed=False)
    found = assemble("net.py", StepConfig(), [answer(batch=batch)], VERSIONS, (), is_survey=True)
    (text,) = found.assumptions
    assert text.startswith("largest batches come from replays")
    assert found.is_survey


def test_many_cards_are_not_all_named() -> None:
    cards = ["t4", "l4", "a10", "a30", "a40", "h100"]
    found = summary(answer("rtx3090"), *(answer(card, warnings=("old",)) for card in cards))
    assert found.warnings == ("t4, l4, a10, a30 and 2 more: old",)


def test_warnings_of_the_runs_are_said_once() -> None:
    text = "a run ended with SIGSEGV after it had delivered its result"
    assert summary(answer(), run_warnings=(text, text)).warnings == (text,)


def test_allocator_settings_of_the_environment_are_said() -> None:
    plan = AllocatorPlan(
        text="expandable_segments:True", variable="PYTORCH_CUDA_ALLOC_CONF", in_force=None
    )
    found = assemble("net.py", StepConfig(), [answer()], VERSIONS, (), plan=plan)
    assert found.assumptions == (
        "PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True of this environment is in force",
    )
    given = replace(plan, variable=None)
    assert assemble("net.py", StepConfig(), [answer()], VERSIONS, (), plan=given).assumptions == ()


def test_what_runs_on_the_card_have_shown_is_said() -> None:
    known = Calibration(
        card="Tesla T4",
        runs=4,
        context_overhead_bytes=150 * MIB,
        reserved_offset_bytes=-20 * MIB,
        step_time_ratio=None,
        basis="calibrated on 4 runs on this card (driver 550, torch 2.14)",
    )
    one = answer()
    found = summary(replace(one, budget=calibrated(one.budget, known)), answer("l4"))
    t4, l4 = found.gpus
    assert found.assumptions == (
        "t4: calibrated on 4 runs on this card (driver 550, torch 2.14): context overhead 150 MiB, "
        "peak reserved -20.0 MiB",
    )
    assert (t4.context_overhead_bytes, t4.reserved_offset_bytes) == (150 * MIB, -20 * MIB)
    assert t4.device_total_bytes == 6 * GIB + 150 * MIB - 20 * MIB
    assert t4.calibration == known.basis
    assert (l4.calibration, l4.reserved_offset_bytes) == (None, 0)


def test_the_interval_and_what_it_rests_on() -> None:
    spread = ErrorInterval(reserved=(0.9, 1.1), context=(0.5, 2.0), coverage=0.9, basis="19 runs")
    none = NoInterval(reason="no interval of device total: nothing is known")
    answers = [answer(), answer("l4")]
    found = assemble("net.py", StepConfig(), answers, VERSIONS, (), spreads=[spread, none])
    t4, l4 = found.gpus
    assert t4.device_total_interval_bytes == (
        round(5.4 * GIB) + 99 * MIB, round(6.6 * GIB) + 396 * MIB,
    )  # fmt: skip
    assert (t4.interval_coverage, t4.interval_basis) == (0.9, "19 runs")
    assert (l4.device_total_interval_bytes, l4.interval_coverage) == (None, None)
    assert l4.interval_basis == none.reason
    assert found.assumptions == (
        "t4: interval of device total: 90 % of such cases at the least, by the errors of 19 runs",
        f"l4: {none.reason}",
    )


def test_notes_are_those_assumptions_that_can_make_no_figure_wrong() -> None:
    spread = ErrorInterval(reserved=(0.9, 1.1), context=(0.5, 2.0), coverage=0.9, basis="19 runs")
    by_runs = largest(20, method=Method.RUNS, reason="sizes follow no rule")
    assumed = ("optimizer: AdamW (none was given)", "per block")
    of_run = {"assumptions": assumed, "notes": assumed[1:]}
    found = assemble(
        "net.py",
        StepConfig(),
        [answer("a100", by_runs, empties_cache=2, **of_run), answer("t4", **of_run)],
        VERSIONS,
        (),
        spreads=[spread, spread],
    )
    assert set(found.notes) <= set(found.assumptions)
    others = [text for text in found.assumptions if text not in found.notes]
    assert others == [
        "a100: assuming A100-SXM4-80GB; also: a100-sxm4-40gb, a100-pcie-40gb, a100-pcie-80gb",
        "optimizer: AdamW (none was given)",
    ]
    assert [text.split(":")[0] for text in found.notes] == [
        "interval of device total", "a100", "per block", "a100", "a100",
    ]  # fmt: skip
    assert "notes" not in found.to_dict()


def test_what_was_measured_before_a_failure_has_no_interval() -> None:
    spread = ErrorInterval(reserved=(0.9, 1.1), context=(0.5, 2.0), coverage=0.9, basis="19 runs")
    beyond = answer(outcome=RunOutcome.OUT_OF_MEMORY)
    found = assemble("net.py", StepConfig(), [beyond], VERSIONS, (), spreads=[spread])
    assert found.gpus[0].device_total_interval_bytes is None
    assert "did not come to its end" in (found.gpus[0].interval_basis or "")
