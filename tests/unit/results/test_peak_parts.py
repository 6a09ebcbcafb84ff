"""Parts of a peak: every sum is the peak, names stay comparable, changes are exact."""

from __future__ import annotations

from pathlib import Path

from planner.preflight.source_names import SourceName, source_name
from planner.results.peak_parts import (
    MOST_NAMES,
    OTHERS,
    PartKind,
    PeakParts,
    changes,
    compact,
    parts_of,
    parts_of_summary,
)
from planner.units import MIB
from tests.unit.budget_records import block, card


def named(source: str) -> SourceName:
    return SourceName(name=source, place=source, is_inside=True)


def test_each_sum_is_the_peak() -> None:
    found = card(block(4, "a", "net.py:3"), block(2, "b", "net.py:3"), block(1)).breakdown
    assert found is not None
    parts = parts_of(found, named)
    for kind in PartKind:
        sums = parts.of(kind)
        assert sums is not None
        assert sum(size for _, size in sums) == 7 * MIB
    assert parts.modules == (("", MIB), ("a", 4 * MIB), ("b", 2 * MIB))
    assert parts.sources == (("", MIB), ("net.py:3", 6 * MIB))
    assert parts.inside == ("net.py:3",)


def test_too_many_modules_have_their_pattern_as_name() -> None:
    blocks = [block(1, f"layers.{index}.mlp") for index in range(MOST_NAMES)]
    found = card(*blocks, block(1, "head")).breakdown
    assert found is not None
    modules = parts_of(found, named).modules
    assert modules == (("head", MIB), ("layers.*.mlp", MOST_NAMES * MIB))


def test_the_smallest_of_too_many_names_are_summed_up() -> None:
    sums = {f"name{index:03}": index for index in range(1, MOST_NAMES + 11)}
    found = dict(compact(sums))
    assert len(found) == MOST_NAMES
    assert sum(found.values()) == sum(sums.values())
    assert found[OTHERS] == sum(range(1, 12))


def test_changes_name_what_grew_and_what_shrank() -> None:
    before = PeakParts(
        categories=(("input", 1),), modules=(("a", 5), ("b", 4)), operators=(), sources=()
    )
    after = PeakParts(
        categories=(("input", 1),), modules=(("a", 7), ("c", 1)), operators=(), sources=()
    )
    found = changes(before, after)
    assert [(one.name, one.before_bytes, one.after_bytes) for one in found] == [
        ("a", 5, 7), ("c", 0, 1), ("b", 4, 0),
    ]  # fmt: skip
    assert {one.kind for one in found} == {PartKind.MODULE}
    assert changes(after, after) == ()


def test_a_part_that_one_does_not_hold_is_not_compared() -> None:
    before = PeakParts(categories=(("input", 1),), modules=(("a", 1),))
    after = PeakParts(
        categories=(("input", 1),), modules=(("a", 1),), operators=(("x", 1),), sources=(("y", 1),)
    )
    assert changes(before, after) == ()


def test_modules_are_collapsed_on_both_sides_if_they_are_on_one() -> None:
    before = PeakParts(modules=(("layers.*.mlp", 130),))
    after = PeakParts(modules=(("layers.0.mlp", 1), ("layers.1.mlp", 130)))
    (found,) = changes(before, after)
    assert (found.name, found.grown_bytes) == ("layers.*.mlp", 1)


def test_an_edited_line_is_one_line(tmp_path: Path) -> None:
    before = PeakParts(sources=(("net.py: h = self.up(x)", 10), ("net.py: y = norm(z)", 4)))
    after = PeakParts(
        sources=(("net.py: h = self.up(x) + 1", 30), ("other.py: y = norm(z)", 4)),
        places=(("net.py: h = self.up(x) + 1", "net.py:12"),),
    )
    edited, new, gone = changes(before, after)
    assert (edited.name, edited.before_bytes, edited.place) == (
        "net.py: h = self.up(x) + 1", 10, "net.py:12",
    )  # fmt: skip
    assert (new.grown_bytes, gone.grown_bytes) == (4, -4)  # of another file: not the same line


def test_lines_are_named_by_their_text(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text("a = 1\nb = 2\n")
    found = card(block(1, source=f"{tmp_path}/net.py:2")).breakdown
    assert found is not None
    parts = parts_of(found, lambda source: source_name(source, tmp_path))
    assert parts.sources == (("net.py: b = 2", MIB),)
    assert parts.places == (("net.py: b = 2", "net.py:2"),)


def test_a_document_has_categories_and_modules_alone() -> None:
    summary = card(block(1, "a.b.c")).peak_summary
    assert summary is not None
    parts = parts_of_summary(summary)
    assert (parts.modules, parts.operators, parts.sources) == ((("a.b", MIB),), None, None)
