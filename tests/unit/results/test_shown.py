"""Results at a prompt and in a notebook: no more certain than they are, and safe as HTML."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest

from planner.config.step import StepConfig
from planner.results.comparison import CardComparison, RankBy
from planner.results.curve import Curve
from planner.results.device_estimate import DeviceEstimate
from planner.results.estimate import Estimate, Versions
from planner.results.html_form import html_form
from planner.results.inspection import Inspection
from planner.results.one_line import one_line
from planner.results.verification import DeviceKind, Figures, Verification, VerifiedDevice
from planner.units import GIB

KINDS = ("estimate", "a100", "curve", "comparison", "inspection", "verification")
HOSTILE = "<script>alert('x')</script>\x1b[31m\u202e&\n"


@pytest.fixture
def verification() -> Verification:
    """Predicted and measured figures that agree."""
    return Verification(
        target="net.py",
        config=StepConfig(),
        optimizer="SGD",
        device=VerifiedDevice(name="Tesla T4", kind=DeviceKind.PHYSICAL, memory_bytes=16 * GIB),
        predicted=Figures(max_batch_size=57, device_total_bytes=1010, step_s=0.1),
        measured=Figures(max_batch_size=58, device_total_bytes=1000, step_s=0.2),
        probes=(),
        versions=Versions(torch="2", cuda="13", cudnn=None, python="3", planner="0"),
        tolerance=0.03,
    )


class Page(HTMLParser):
    """The tags, the texts of cells by row, and whether every tag is closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.rows: list[list[str]] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        self._open.append(tag)
        if tag == "tr":
            self.rows.append([])

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)
        if self._open[-1] in ("td", "th"):
            self.rows[-1].append(data)


def test_an_estimate_on_one_line(estimate: Estimate) -> None:
    assert repr(estimate) == (
        "<Estimate 'models/gpt2.py', training with batch 16: a100 fits, 22.5 GiB of 79.1 GiB "
        "(22.0 GiB to 24.0 GiB in 90 % of cases), largest batch 57, step 100 ms (80.0 ms to 130 ms "
        "in 90 % of cases); t4 probably does not fit, 22.2 GiB of 14.6 GiB (interval not known), "
        "largest batch 10, step 100 ms (interval not known), if it fitted; 1 warning>"
    )
    assert str(estimate) == repr(estimate)


def test_a_curve_on_one_line(curve: Curve) -> None:
    assert repr(curve) == (
        "<Curve 'models/resnet50.py' on t4: 5 points from batch 1 to 256, largest batch 128, "
        "knee 64, recommended 48 x 2; 1 warning>"
    )
    nothing = replace(
        curve, points=(), largest_batch_size=0, knee=None, recommended_batch_size=None, warnings=()
    )
    assert repr(nothing) == (
        "<Curve 'models/resnet50.py' on t4: 0 points, no batch fits, not even 1, no knee, "
        "none recommended>"
    )
    assert "not searched" in repr(replace(curve, largest_batch_size=None))
    assert "largest batch 128 or more" in repr(replace(curve, largest_batch_is_bound=True))


def test_a_comparison_on_one_line(comparison: CardComparison) -> None:
    assert repr(comparison) == (
        "<CardComparison 'models/resnet50.py' by cost: 5 cards, best a100 at batch 16 "
        "(0.300 to 0.400 USD an epoch), 1 left out>"
    )
    assert "best h100 at batch 16 (1000 samples/s)" in repr(replace(comparison, by=RankBy.TIME))
    assert "best h100 at batch 16 (0.0500 to 0.0700 kWh" in repr(
        replace(comparison, by=RankBy.ENERGY)
    )
    unfit = tuple(replace(card, fits=False) for card in comparison.cards)
    assert "none that fits and can be ranked" in repr(replace(comparison, cards=unfit))


def test_a_verification_on_one_line(verification: Verification) -> None:
    assert repr(verification) == (
        "<Verification 'net.py' on Tesla T4: confirmed, largest batch 57 predicted, 58 measured, "
        "device total +1.0% predicted against measured>"
    )
    off = replace(verification, predicted=Figures(max_batch_size=59))
    assert "not confirmed, largest batch 59 predicted, 58 measured>" in repr(off)
    stopped = replace(verification, stopped="a probe was killed", measured=Figures())
    assert "not confirmed, largest batch 57 predicted, unknown measured>" in repr(stopped)
    device = replace(verification.device, kind=DeviceKind.EMULATED)
    assert "on emulated Tesla T4:" in repr(replace(verification, device=device))
    timed = replace(verification, predicted=Figures(step_s=0.1), measured=Figures(step_s=0.1))
    assert "measured, nothing was predicted" in repr(timed)


def test_an_inspection_on_one_line(inspection: Inspection) -> None:
    assert repr(inspection) == (
        "<Inspection 'models/net.py', batch 8: 30 parameters, 1.25 kFLOPs a sample in the forward, "
        "30.0 kFLOPs in a step without the optimizer, 5 modules to depth 2, 2 operators without a "
        "rule>"
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"max_batch_confirmed": True}, "largest batch 57,"),
        ({"max_batch_confirmed": False}, "largest batch 57, not confirmed,"),
        ({"max_batch_confirmed": False, "max_batch_is_bound": True}, "largest batch 57 or more,"),
        ({"max_batch_size": 0}, "largest batch none, not even 1,"),
        ({"device_total_interval_bytes": None}, "probably fits, .* .interval not known.,"),
        ({"device_total_interval_bytes": (GIB, 99 * GIB)}, "a100 probably fits"),
        ({"reserve_bytes": 2 * GIB}, "22.5 GiB of 79.1 GiB, 2.00 GiB kept free"),
        ({"fits": False}, "a100 probably does not fit"),
        (
            {"fits": False, "device_total_interval_bytes": (80 * GIB, 90 * GIB)},
            "a100 does not fit",
        ),
    ],
    ids=str,
)
def test_no_more_is_said_than_is_known(
    a100: DeviceEstimate, change: dict[str, Any], said: str
) -> None:
    assert re.search(said, repr(replace(a100, **change)))


def test_what_was_not_searched_or_timed_is_left_out(a100: DeviceEstimate) -> None:
    bare = replace(a100, max_batch_size=None, time=None)
    assert "largest" not in repr(bare)
    assert "step" not in repr(bare)
    (_, cells) = Page(html_form(bare)).rows
    assert cells[-2:] == ["not searched", "not counted"]


def test_many_cards_are_counted(estimate: Estimate, a100: DeviceEstimate) -> None:
    many = replace(estimate, gpus=(a100,) * 30)
    assert repr(many).count("a100 fits") == 3
    assert "27 more cards" in repr(many)
    rows = Page(html_form(many)).rows
    assert len(rows) == 1 + 20 + 1
    assert rows[-1] == ["and 10 more"]
    assert repr(replace(estimate, gpus=(a100,))).count("more card") == 0


@pytest.mark.parametrize("kind", KINDS)
def test_the_line_is_one_line_whatever_a_name_holds(
    kind: str, request: pytest.FixtureRequest
) -> None:
    result = _hostile(request.getfixturevalue(kind))
    assert repr(result).isprintable()
    assert repr(result) == one_line(result)


@pytest.mark.parametrize("kind", KINDS)
def test_html_is_an_accessible_table_without_scripts_or_colours(
    kind: str, request: pytest.FixtureRequest
) -> None:
    result = request.getfixturevalue(kind)
    page = Page(result._repr_html_())
    assert set(page.tags) <= {
        "table",
        "caption",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "p",
        "ul",
        "li",
    }
    assert page.tags.count("table") == page.tags.count("caption") == 1
    columns, *rows = page.rows
    assert rows
    assert all(columns)
    assert {len(row) for row in rows} == {len(columns)}
    assert page.tags.count("th") == page.attributes.count(("scope", "col")) + page.attributes.count(
        ("scope", "row")
    )
    assert {name for name, _ in page.attributes} <= {"style", "scope", "colspan"}
    styles = {value for name, value in page.attributes if name == "style"}
    assert styles == {"text-align:left", "color:inherit"}


@pytest.mark.parametrize("kind", KINDS)
def test_html_shows_hostile_texts_as_texts(kind: str, request: pytest.FixtureRequest) -> None:
    plain = request.getfixturevalue(kind)
    result = _hostile(plain)
    page = Page(html_form(result))
    assert "script" not in page.tags
    assert page.tags.count("tr") == Page(html_form(plain)).tags.count("tr")
    text = "".join(page.texts)
    assert "<script>alert('x')</script>\\x1b[31m\\u202e&\\n" in text
    assert text.isprintable()


def test_warnings_are_with_the_table(estimate: Estimate, verification: Verification) -> None:
    many = replace(estimate, warnings=tuple(f"warning {number}" for number in range(8)))
    page = Page(html_form(many))
    assert page.texts[-7:] == [
        "Warnings",
        *(f"warning {number}" for number in range(5)),
        "and 3 more",
    ]
    off = replace(verification, stopped="a probe was killed")
    assert "the search has no answer: a probe was killed" in Page(html_form(off)).texts


def test_the_rows_of_a_verification(verification: Verification) -> None:
    assert Page(html_form(verification)).rows == [
        ["figure", "predicted", "measured", "error"],
        ["max batch size", "57", "58", "-1.7%"],
        ["device total", "1010 B", "1000 B", "+1.0%"],
        ["step", "100 ms", "200 ms", "-50.0%"],
    ]


def test_the_marks_of_a_curve(curve: Curve) -> None:
    marked = replace(curve, knee=128, recommended_batch_size=128)
    rows = {row[0]: row for row in Page(html_form(marked)).rows}
    assert rows["128"][-1] == "knee, largest, recommended"
    assert rows["256"][1] == "no"
    assert rows["1"][-1] == "-"


def test_something_else_is_no_result() -> None:
    for form in (one_line, html_form):
        with pytest.raises(TypeError, match="a int is no result"):
            form(3)


def _hostile(result: Any) -> Any:
    """The same with texts from outside that would do harm."""
    if isinstance(result, DeviceEstimate):
        return replace(result, requested=HOSTILE, name=HOSTILE)
    changed: dict[str, Any] = {"target": HOSTILE, "warnings": (HOSTILE,)}
    if isinstance(result, Estimate):
        changed["gpus"] = tuple(_hostile(entry) for entry in result.gpus)
    if isinstance(result, Verification):
        changed["device"] = replace(result.device, name=HOSTILE)
    if isinstance(result, Curve):
        changed |= {"gpu": HOSTILE, "gpu_name": HOSTILE}
    if isinstance(result, CardComparison):
        changed["cards"] = tuple(replace(card, requested=HOSTILE) for card in result.cards)
    return replace(result, **changed)
