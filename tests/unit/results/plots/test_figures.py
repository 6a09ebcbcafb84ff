"""Figures of results made by hand: what is drawn is what the result says, to the byte."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from planner.config.step import StepConfig
from planner.errors import UnsupportedPlatformError, UsageError
from planner.memory.peak import Breakdown, Held
from planner.results.comparison import CardComparison
from planner.results.curve import Curve
from planner.results.device_estimate import DeviceEstimate
from planner.results.estimate import Estimate
from planner.results.inspection import Inspection
from planner.results.plots import canvas
from planner.results.plots.canvas import PlotFormat, picture, plot_format
from planner.results.plots.of_results import figure_of, write_plot
from planner.results.plots.timeline import limit_bytes
from planner.results.roofline import roofline_of
from planner.units import GIB, MIB
from planner.wire.trace import (
    AllocationEvent,
    AllocationTrace,
    EventKind,
    FlopSource,
    OperatorRecord,
    Origin,
    Phase,
    TensorCategory,
    TensorShape,
)

pytest.importorskip("matplotlib")


def alloc(block: int, size_mib: int, phase: Phase, category: TensorCategory) -> AllocationEvent:
    return AllocationEvent(
        kind=EventKind.ALLOC,
        block=block,
        size_bytes=size_mib * MIB,
        block_bytes=size_mib * MIB,
        step=0 if phase is Phase.BUILD else 1,
        phase=phase,
        category=category,
    )


@pytest.fixture
def trace() -> AllocationTrace:
    """A parameter of 64 MiB; 2000 activations of 1 MiB that grow and go; a gradient of 100 MiB."""
    saved, kind = TensorCategory.SAVED_ACTIVATION, EventKind.FREE
    return AllocationTrace(
        events=(
            alloc(0, 64, Phase.BUILD, TensorCategory.PARAMETER),
            *(alloc(one, 1, Phase.FORWARD, saved) for one in range(1, 2001)),
            alloc(2001, 100, Phase.BACKWARD, TensorCategory.GRADIENT),
            *(
                AllocationEvent(kind=kind, block=one, size_bytes=0, step=1, phase=Phase.BACKWARD)
                for one in range(1, 2001)
            ),
        ),
        origins=(Origin(),),
    )


PEAK_BYTES = (64 + 2000 + 100) * MIB


@pytest.fixture
def recorded(estimate: Estimate, trace: AllocationTrace) -> Estimate:
    card = replace(
        estimate.gpus[0], peak_allocated_bytes=PEAK_BYTES, peak_reserved_bytes=PEAK_BYTES + 2 * MIB
    )
    return replace(estimate, gpus=(card, *estimate.gpus[1:]), allocations=(trace, None))


@pytest.fixture
def parts() -> Breakdown:
    """4 GiB of parameters and 16 of activations, as much as the card's peak."""
    return Breakdown(
        held=tuple(
            Held(
                size_bytes=gib * GIB,
                block_bytes=gib * GIB,
                category=category,
                step=1,
                phase=Phase.FORWARD,
                origin=Origin(),
            )
            for gib, category in (
                (4, TensorCategory.PARAMETER),
                (16, TensorCategory.SAVED_ACTIVATION),
            )
        ),
        peak_step=2,
        peak_phase=Phase.BACKWARD,
        step_peak_bytes=(20 * GIB,),
    )


def drawn(figure: Any, name: str) -> list[Any]:
    """The artists of all axes with this gid."""
    return [one for one in figure.findobj() if one.get_gid() == name]


def words(figure: Any) -> str:
    from matplotlib.text import Text

    return " ".join(one.get_text() for one in figure.findobj(Text)).replace("\n", " ")


def test_the_highest_point_of_the_areas_is_the_peak(recorded: Estimate) -> None:
    figure = recorded.plot()
    highest = {
        category.value: max(
            (point[1] for area in drawn(figure, category.value) for point in area.get_xy()),
            default=None,
        )
        for category in TensorCategory
    }
    # From the bottom: parameter, gradient, activations.
    assert {name: top * GIB for name, top in highest.items() if top is not None} == {
        "parameter": 64 * MIB,
        "gradient": 164 * MIB,
        "saved activation": PEAK_BYTES,
    }
    (peak,) = drawn(figure, "peak")
    assert peak.get_ydata()[0] * GIB == PEAK_BYTES
    assert peak.get_xdata()[0] == 2001
    assert f"{PEAK_BYTES:,} bytes" in words(figure)
    assert {"build 0", "forward 1", "backward 1"} <= {one.get_gid() for one in figure.findobj()}


def test_a_limit_out_of_sight_is_in_words_and_a_near_one_is_drawn(recorded: Estimate) -> None:
    assert drawn(recorded.plot(), "limit") == []
    assert "it is above the picture" in words(recorded.plot())
    near = replace(recorded.gpus[0], usable_memory_bytes=3 * GIB)
    figure = replace(recorded, gpus=(near, recorded.gpus[1])).plot()
    (limit,) = drawn(figure, "limit")
    assert limit.get_ydata()[0] * GIB == limit_bytes(near) == 3 * GIB - 512 * MIB


def test_a_batch_that_is_not_known_is_refused(recorded: Estimate) -> None:
    with pytest.raises(UsageError, match="batch 7 is not in this result"):
        recorded.plot(batch_size=7)
    with pytest.raises(UsageError, match="is not in this estimate"):
        recorded.plot(gpu="h100")


def test_without_recordings_the_parts_of_the_device_total(
    estimate: Estimate, parts: Breakdown
) -> None:
    card = replace(estimate.gpus[0], breakdown=parts)
    figure = replace(estimate, gpus=(card,)).plot()
    (axes,) = figure.axes
    bars = [round(bar.get_width() * GIB) for bar in axes.containers[0]]
    assert bars == [16 * GIB, 4 * GIB, 2 * GIB, 512 * MIB]
    assert sum(bars) == card.device_total_bytes
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == [
        "saved activation", "parameter", "reserved, not allocated", "context overhead",
    ]  # fmt: skip
    assert "keep_allocations=True" in words(figure)


def test_without_any_parts_it_is_an_error(estimate: Estimate) -> None:
    with pytest.raises(UsageError, match="nothing to plot for a100"):
        estimate.plot()


def test_every_card_of_a_survey(estimate: Estimate) -> None:
    figure = replace(estimate, is_survey=True).plot()
    (axes,) = figure.axes
    usable, totals = ([bar.get_width() * GIB for bar in one] for one in axes.containers)
    assert usable == [one.usable_memory_bytes for one in estimate.gpus]
    assert totals == [one.device_total_bytes for one in estimate.gpus]
    assert "it fits on 1 of 2 cards" in words(figure)


def test_a_curve_has_each_point_twice_and_no_unknown_total(
    curve: Curve, point: Callable[..., Any]
) -> None:
    unknown = replace(curve, points=(*curve.points, point(512, 411.0, None)))
    figure = unknown.plot()
    (speed,), (memory,) = drawn(figure, "samples/s"), drawn(figure, "device total")
    assert list(speed.get_ydata()) == [one.samples_per_s for one in unknown.points]
    assert [one * GIB for one in memory.get_ydata()] == [
        one.device_total_bytes for one in curve.points
    ]
    (usable,) = drawn(figure, "usable memory")
    assert usable.get_ydata()[0] * GIB == 16 * GIB
    (hollow,) = drawn(figure, "device total, False")
    assert list(hollow.get_xdata()) == [256]
    assert "device total is not known at 1 point" in words(figure)
    assert "knee: 64" in words(figure)
    with pytest.raises(UsageError, match="has no points"):
        replace(curve, points=()).plot()


def test_cards_are_in_their_order_and_unknown_figures_have_no_bar(
    comparison: CardComparison,
) -> None:
    figure = comparison.plot()
    speed, _largest, money = figure.axes
    assert [bar.get_width() for bar in speed.containers[0]] == [
        card.samples_per_s or 0 for card in comparison.ranking
    ]
    high, low = money.containers
    assert [bar.get_width() for bar in high] == [
        (card.money or (0, 0))[1] for card in comparison.ranking
    ]
    assert [bar.get_width() for bar in low] == [
        (card.money or (0, 0))[0] for card in comparison.ranking
    ]
    assert "not known" in words(figure)
    assert "ranked by cost; 1 card left out" in words(figure)
    with pytest.raises(UsageError, match="no card was compared"):
        replace(comparison, cards=()).plot()


@pytest.fixture
def product() -> OperatorRecord:
    """Two products of 1024 x 1024 matrices in bfloat16: 2^31 FLOPs and 6 MiB each."""
    matrix = TensorShape(shape=(1024, 1024), dtype="bfloat16")
    return OperatorRecord(
        name="aten::mm",
        phase=Phase.FORWARD,
        inputs=(matrix, matrix),
        outputs=(matrix,),
        calls=2,
        flops=2 * 1024**3,
        flop_source=FlopSource.FORMULA,
        read_bytes=4 * MIB,
        written_bytes=2 * MIB,
    )


def test_a_roofline_has_counted_figures_and_the_cards_peaks(
    inspection: Inspection, product: OperatorRecord
) -> None:
    copy = replace(product, name="aten::copy_", flops=None, flop_source=FlopSource.ELEMENTWISE)
    model = replace(inspection.model, operators=(product, copy))
    given = replace(inspection, model=model, gpu_id="a100-sxm4-80gb")
    found = roofline_of(given)
    (point,) = found.points
    assert point.intensity_flops_per_byte == 2 * 1024**3 / (6 * MIB)
    assert point.flops_per_s == pytest.approx(2 * 2 * 1024**3 / point.spent_s)
    assert found.step_s == pytest.approx(point.spent_s + found.without_flops_s)
    (roof,) = found.roofs
    assert (roof.name, roof.flops_per_s, roof.is_peak) == ("bfloat16, tensor cores", 312e12, True)
    assert found.memory_bytes_per_s == pytest.approx(2039e9)
    figure = given.plot()
    (line,) = drawn(figure, "roof")
    assert list(line.get_ydata()) == [312.0, 312.0]
    assert "1 kind of calls without FLOPs have no point" in words(figure)
    with pytest.raises(UsageError, match="no operator of the step has FLOPs"):
        replace(given, model=replace(model, operators=(copy,))).plot()
    with pytest.raises(UsageError, match="which is not in the database"):
        replace(given, gpu_id="my-own-card").plot()


@pytest.mark.parametrize("name", ["notes.gif", "notes", "svg", "notes.svg.gz"])
def test_another_suffix_is_refused(name: str, curve: Curve, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"one of \.svg, \.png, \.pdf"):
        write_plot(curve, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_the_suffix_is_read_in_any_case() -> None:
    assert plot_format(Path("a.b/NET.SVG")) is PlotFormat.SVG


def test_a_result_without_a_picture_is_refused() -> None:
    with pytest.raises(UsageError, match="there is no plot of a StepConfig"):
        figure_of(StepConfig())


@pytest.mark.parametrize("suffix", [one.value for one in PlotFormat])
def test_the_file_is_whole_and_the_same_each_time(
    suffix: str, curve: Curve, tmp_path: Path
) -> None:
    first, second = (tmp_path / f"{number}.{suffix}" for number in (1, 2))
    write_plot(curve, first)
    write_plot(curve, second)
    begin = {"svg": b"<?xml", "png": b"\x89PNG", "pdf": b"%PDF"}[suffix]
    assert first.read_bytes().startswith(begin)
    assert first.read_bytes() == second.read_bytes()


def test_text_of_an_svg_stays_text_and_is_escaped(curve: Curve) -> None:
    hostile = replace(curve, target="<script>$x^2$&\x1b[31m")
    text = picture(hostile.plot(), PlotFormat.SVG).decode()
    assert "&lt;script&gt;$x^2$&amp;" in text
    assert "<script" not in text
    assert "\x1b" not in text
    assert "samples a second</text>" in text


def test_no_setting_of_the_program_changes_and_pyplot_is_not_there(
    curve: Curve, monkeypatch: pytest.MonkeyPatch
) -> None:
    import matplotlib

    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)  # its import would fail
    names = set(matplotlib.rcParams) - {"backend"}  # reading that one imports pyplot
    before = {name: matplotlib.rcParams[name] for name in names}
    figure = curve.plot()
    figure._repr_svg_()
    assert {name: matplotlib.rcParams[name] for name in names} == before


def test_a_notebook_shows_the_figure_as_svg(curve: Curve) -> None:
    formatters = pytest.importorskip("IPython.core.formatters")
    data, _ = formatters.DisplayFormatter().format(curve.plot())
    assert data["image/svg+xml"].startswith("<?xml")


def test_without_matplotlib_the_error_says_what_to_install(
    curve: Curve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(canvas, "find_spec", lambda name: None)
    with pytest.raises(UnsupportedPlatformError, match=r"pip install 'vram-planner\[plot\]'"):
        curve.plot()


def test_a_card_without_a_share_outside_has_its_whole_limit(a100: DeviceEstimate) -> None:
    card = replace(a100, outside_bytes=GIB, reserve_bytes=2 * GIB, reserved_offset_bytes=-MIB)
    assert limit_bytes(card) == card.usable_memory_bytes - 512 * MIB - 3 * GIB + MIB
