"""How far an answer rests on values, in words and as JSON."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from planner.config.step import DataDependent
from planner.results.values import NO_VALUES_READ, ValuesResult
from planner.wire.run_notes import reading_note
from planner.wire.value_reads import Decision, ReadSite, ValueRead, ValuesState

KNOWN = ValueRead(file="/net.py", line=3, function="forward", operator="aten::nonzero", count=2)
DRAWN = replace(
    KNOWN, line=7, assumed=2, decision=Decision.SIZE, smallest=4, largest=9, bounds=(0, 16)
)
LOSS = replace(KNOWN, line=9, operator="aten::_local_scalar_dense", assumed=1, count=1)


def test_nothing_read() -> None:
    assert NO_VALUES_READ.state is ValuesState.NONE_READ
    assert NO_VALUES_READ.line == "none read"
    assert not NO_VALUES_READ.warnings()
    assert not NO_VALUES_READ.assumptions()


def test_known_values_are_neither_warned_of_nor_assumed() -> None:
    found = ValuesResult(reads=(KNOWN,))
    assert found.line == "known, 2 reads at 1 place"
    assert not found.are_decided
    assert not (*found.warnings(), *found.assumptions())


def test_a_loss_that_is_shown_is_an_assumption_and_no_warning() -> None:
    found = ValuesResult(reads=(KNOWN, LOSS))
    assert found.line == "assumed, 3 reads at 2 places"
    assert not found.are_decided
    assert not found.warnings()
    (text,) = found.assumptions()
    assert text.endswith("drawn at random where they were read: /net.py:9 in forward")


def test_a_size_by_drawn_numbers_is_a_warning_with_all_that_is_known_of_it() -> None:
    found = ValuesResult(reads=(DRAWN,))
    assert found.line == "assumed, 2 reads at 1 place; sizes rest on drawn numbers"
    assert found.are_decided
    (text,) = found.warnings()
    place = "/net.py:7 in forward, 2 times (aten::nonzero, 4 to 9 where 0 to 16 are possible)"
    assert f"drawn at random, as of an untrained net: {place}; --data-dependent most" in text


def test_at_its_most_nothing_worse_is_pointed_to() -> None:
    (text,) = ValuesResult(reads=(DRAWN,), data_dependent=DataDependent.MOST).warnings()
    assert "taken at their most" in text
    assert "--data-dependent" not in text


def test_a_size_that_was_given_is_not_doubted() -> None:
    found = ValuesResult(reads=(replace(DRAWN, is_fixed=True),))
    assert not found.are_decided
    assert found.to_dict()["reads"][0]["size_given"] is True


def test_many_places_are_counted() -> None:
    reads = tuple(replace(DRAWN, line=line) for line in range(1, 7))
    (text,) = ValuesResult(reads=reads).warnings()
    assert "/net.py:3 in forward" in text
    assert "/net.py:4 in forward" not in text
    assert "; and 3 more places" in text


def test_a_pass_that_parted_is_a_warning(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    site = ReadSite(file=str(tmp_path / "net.py"), line=4, function="f")
    found = ValuesResult(reads=(KNOWN,), parted=(site, ReadSite()))
    assert found.are_decided
    (text,) = found.warnings()
    assert "at net.py:4; backward: its figures may be wrong" in text


def test_json() -> None:
    assert ValuesResult(reads=(DRAWN,), seeds=(0, 1)).to_dict() == {
        "state": "assumed",
        "decides_sizes": True,
        "data_dependent": "typical",
        "seeds": [0, 1],
        "reads": [
            {
                "file": "/net.py", "line": 7, "function": "forward", "operator": "aten::nonzero",
                "count": 2, "assumed": 2, "decision": "size", "smallest": 4, "largest": 9,
                "possible": [0, 16], "size_given": False,
            }
        ],
        "parted": [],
    }  # fmt: skip


@pytest.mark.parametrize("text", [b"", b"{}", b"\0\0", b'["a", "b", "c", "d"]', b"[1, 2"])
def test_a_note_that_cannot_be_read_is_none(text: bytes) -> None:
    assert reading_note(text) is None


def test_a_note_says_where_and_how_often() -> None:
    note = reading_note(b'["/net.py", 4, "forward", 1200]   ')
    assert note is not None
    assert note.said == "it has read values of the card 1,200 times at /net.py:4 in forward"
