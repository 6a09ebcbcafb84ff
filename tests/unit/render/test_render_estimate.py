"""The report for people: golden files at several widths, and what must never happen to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from rich.console import Console

from planner.config.step import Mode, Precision, StepConfig
from planner.config.weights import WeightDtype
from planner.render.terminal.estimate import render
from planner.render.terminal.largest import (
    largest_batch_in_full,
    largest_image,
    longest_sequence,
    most_frames,
)
from planner.results.device_estimate import DeviceEstimate
from planner.results.estimate import Estimate
from planner.units import GIB, MIB

Golden = Callable[[str, str], None]


def shown(estimate: Estimate, width: int, *, verbose: bool = False) -> str:
    console = Console(width=width, force_terminal=False, no_color=True, highlight=False)
    with console.capture() as captured:
        console.print(render(estimate, verbose=verbose))
    return "".join(f"{line.rstrip()}\n" for line in captured.get().splitlines())


def three_cards(estimate: Estimate) -> Estimate:
    a100, t4 = estimate.gpus
    third = replace(
        a100,
        requested="rtx-6000-ada",
        name="NVIDIA RTX 6000 Ada Generation",
        usable_memory_bytes=48510 * MIB,
        reserve_bytes=GIB,
        max_batch_size=1 << 24,
        max_batch_is_bound=True,
        attention_backends=("flash", "efficient", "math"),
    )
    return replace(estimate, gpus=(a100, t4, third))


def small(estimate: Estimate) -> Estimate:
    """Does not fit at batch 1, with as little as possible said beside it."""
    t4 = replace(
        estimate.gpus[1], max_batch_size=0, batch_1_missing_bytes=3 * GIB, attention_backends=()
    )
    config = StepConfig(
        batch_size=16, precision=Precision.AMP_FP16, channels_last=True, accumulate=4
    )
    return replace(estimate, gpus=(t4,), config=config, assumptions=(), warnings=())


def inference(estimate: Estimate) -> Estimate:
    a100 = replace(
        estimate.gpus[0],
        max_batch_size=None,
        suggested_batch_size=None,
        suggested_margin_bytes=None,
    )
    config = StepConfig(batch_size=16, mode=Mode.INFER, precision=Precision.BF16)
    half = WeightDtype(dtype="bfloat16", elements=124_439_808, size_bytes=248_879_616)
    counts = replace(estimate.counts, trainable_parameters=1000, weight_dtypes=(half,))
    return replace(estimate, gpus=(a100,), config=config, counts=counts, warnings=())


@pytest.mark.parametrize("width", [80, 100_000], ids=["terminal", "pipe"])
@pytest.mark.parametrize(
    "change",
    [pytest.param(lambda estimate: estimate, id="two-cards"), three_cards, small, inference],
    ids=lambda change: change.__name__,
)
def test_report_is_as_written(
    estimate: Estimate,
    golden: Golden,
    change: Callable[[Estimate], Estimate],
    width: int,
    request: pytest.FixtureRequest,
) -> None:
    golden(f"report-{request.node.callspec.id}.txt", shown(change(estimate), width))


def test_the_whole_report_is_as_written(estimate: Estimate, golden: Golden) -> None:
    noted = replace(estimate, notes=estimate.assumptions[1:2])
    golden("report-two-cards-verbose.txt", shown(noted, 80, verbose=True))


def test_what_is_left_out_is_named_and_nothing_that_warns_is(estimate: Estimate) -> None:
    noted = replace(estimate, notes=estimate.assumptions[1:2])
    short, whole = (shown(noted, 100_000, verbose=verbose) for verbose in (False, True))
    assert "\n--verbose adds: 8 rows, 1 note on the figures\n" in short
    assert "--verbose" not in whole
    left_out = {line for line in whole.splitlines() if line not in short.splitlines()}
    rows = {line.partition("  ")[0] for line in left_out if not line.startswith("- optimizer: ")}
    assert rows - {"good to know", noted.notes[0]} == {
        "peak allocated", "attention", "- forward", "- loss", "- backward", "- optimizer step",
        "next bound", "energy",
    }  # fmt: skip
    for sentence in (*noted.warnings, noted.assumptions[0], noted.assumptions[2]):
        assert f"- {sentence}" in short.splitlines()
    assert f"\n\ngood to know\n- {noted.notes[0]}\n" in whole


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_no_line_is_wider_than_the_terminal_and_nothing_is_cut(
    estimate: Estimate, width: int
) -> None:
    text = shown(three_cards(estimate), width)
    assert max(len(line) for line in text.splitlines()) <= width
    assert "\N{HORIZONTAL ELLIPSIS}" not in text
    words = " ".join(text.split())
    for entry in three_cards(estimate).gpus:
        assert entry.name in words
        assert f" {entry.requested} " in words
    for sentence in (*estimate.assumptions, *estimate.warnings):
        assert sentence in words


def test_on_a_pipe_every_sentence_is_one_line(estimate: Estimate) -> None:
    lines = shown(estimate, 100_000).splitlines()
    for sentence in (*estimate.assumptions, *estimate.warnings):
        assert f"- {sentence}" in lines


def test_own_words_are_ascii_and_text_of_the_user_is_not_markup(estimate: Estimate) -> None:
    text = shown(replace(estimate, target="models/[red]gpt2.py[/red]"), 80)
    assert text.isascii()
    assert "\n\nmodels/[red]gpt2.py[/red]\n" in text


def test_colour_says_whether_it_fits(estimate: Estimate) -> None:
    console = Console(width=80, force_terminal=True, color_system="standard", highlight=False)
    with console.capture() as captured:
        console.print(render(estimate))
    assert "\x1b[1;32myes" in captured.get()
    assert "\x1b[1;31mno, 7.63 GiB over" in captured.get()


def test_tight_is_said_and_coloured(estimate: Estimate, a100: DeviceEstimate) -> None:
    tight = replace(a100, device_total_interval_bytes=(70 * GIB, 80 * GIB), suggested_batch_size=0)
    found = replace(estimate, gpus=(tight,))
    assert "\nfits              yes, tight\n" in shown(found, 80)
    assert "\ninterval          70.0 GiB to 80.0 GiB, 90 %\n" in shown(found, 80)
    assert "\nsuggested batch   none\n" in shown(found, 80)
    console = Console(width=80, force_terminal=True, color_system="standard", highlight=False)
    with console.capture() as captured:
        console.print(render(found))
    assert "\x1b[1;33myes, tight" in captured.get()


def test_cards_share_tables_only_where_they_fit(a100: DeviceEstimate, estimate: Estimate) -> None:
    many = replace(estimate, gpus=tuple(replace(a100, requested=f"a100-{n}") for n in range(9)))
    at_80, piped = shown(many, 80), shown(many, 100_000)
    assert [text.count("peak reserved") for text in (at_80, piped)] == [5, 3]


def test_the_sequence_length_is_said_where_one_was_given(estimate: Estimate) -> None:
    config = StepConfig(batch_size=8, sequence_length=2048, precision=Precision.FP32)
    text = shown(replace(estimate, config=config), 100_000)
    assert "training with batch 8, sequence 2048, fp32 weights, " in text
    assert "sequence" not in shown(estimate, 100_000)


def test_a_largest_batch_that_no_run_has_shown(a100: DeviceEstimate) -> None:
    def words(**change: object) -> str:
        return largest_batch_in_full(replace(a100, **change))  # type: ignore[arg-type] # mixed values

    assert words(max_batch_confirmed=True) == "57"
    assert words(max_batch_confirmed=False) == "57, not confirmed"
    assert words(max_batch_confirmed=False, max_batch_is_bound=True) == "57 or more"
    assert words(max_batch_confirmed=True, max_batch_size=0) == "none, not even 1"
    assert words(max_batch_confirmed=None, max_batch_size=None) == ""
    tokens = replace(a100, max_sequence_length=1024, max_sequence_confirmed=False)
    assert longest_sequence(tokens) == "1024, not confirmed"
    assert longest_sequence(replace(tokens, max_sequence_confirmed=True)) == "1024"


def test_the_largest_image_and_the_most_frames_have_rows(
    estimate: Estimate, a100: DeviceEstimate
) -> None:
    card = replace(
        a100, max_image=(1024, 1536), max_image_confirmed=False, max_frames=81,
        max_frames_confirmed=True,
    )  # fmt: skip
    rows = [line.split() for line in shown(replace(estimate, gpus=(card,)), 100).splitlines()]
    assert ["largest", "image", "1024x1536,", "not", "confirmed"] in rows
    assert ["most", "frames", "81"] in rows
    rows = [line.split() for line in shown(replace(estimate, gpus=(a100,)), 100).splitlines()]
    assert not [row for row in rows if row[:2] in (["largest", "image"], ["most", "frames"])]
    nothing = replace(a100, max_image=(0, 0), max_frames=0)
    assert (largest_image(nothing), most_frames(nothing)) == ("none", "none, not even 1")


def test_the_table_of_all_cards_says_which_batches_are_confirmed(
    estimate: Estimate, a100: DeviceEstimate, t4: DeviceEstimate
) -> None:
    cards = (
        replace(a100, max_batch_confirmed=False),
        replace(t4, max_batch_confirmed=True),
        replace(a100, requested="mine", max_batch_size=None),
    )
    text = shown(replace(estimate, gpus=cards, is_survey=True), width=120)
    rows = {line.split()[0]: line.split() for line in text.splitlines() if line.strip()}
    heading = next(line for line in text.splitlines() if line.startswith("card"))
    assert "largest batch  confirmed" in heading
    assert "no" in rows["a100"]
    assert rows["t4"].count("yes") == 1  # confirmed, and does not fit
    assert rows["mine"].count("yes") == 1  # fits, and was not searched


def test_the_table_of_all_cards_says_where_it_is_tight(
    estimate: Estimate, a100: DeviceEstimate
) -> None:
    tight = replace(a100, device_total_interval_bytes=(70 * GIB, 80 * GIB), host=None)
    text = shown(replace(estimate, gpus=(tight,), is_survey=True), width=120)
    assert " yes, tight " in text
