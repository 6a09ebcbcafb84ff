"""Ranks as processes of this machine: what they know reaches the others, and their peaks are those
of a rank alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.real_ranks.__main__ import GROUPS, agree
from benchmarks.real_ranks.running import Case, peaks_alone, profile_of, real_peaks, run_ranks
from planner.emulator.build import EmulatedDevice

pytestmark = pytest.mark.slow
PROGRAMS = Path(__file__).parent / "ranks_that_talk.py"


def talk(
    program: str,
    device: EmulatedDevice,
    folder: Path,
    *,
    ranks: int = 2,
    is_eager: bool = False,
    is_quiet_end: bool = True,
    codes: tuple[int, ...] = (),
) -> list[Any]:
    """Runs a program of ranks_that_talk.py in each rank; returns what each found."""
    meeting_file = folder / f"store-{len(list(folder.iterdir()))}"
    orders = [
        {
            "program": program,
            "rank": rank,
            "ranks": ranks,
            "group": "nccl",
            "is_eager": is_eager,
            "is_quiet_end": is_quiet_end,
            "meeting_file": str(meeting_file),
            "libraries": [str(path) for path in device.libraries],
            "profile": profile_of(device, has_peers=True),
        }
        for rank in range(ranks)
    ]
    lines = run_ranks(orders, 120.0, (str(PROGRAMS),), codes)
    return [json.loads(line or "null") for line in lines]


def test_objects_reach_the_other_rank(device: EmulatedDevice, tmp_path: Path) -> None:
    first, second = talk("objects", device, tmp_path)
    sizes, sent = [10, 510], ["one", [2, 3]]
    assert first == [sizes, sent, None, ["first"], [10, 11]]
    assert second == [sizes, sent, [{"rank": 0, "text": "x" * 10}, "more"], ["second"], None]


@pytest.mark.parametrize("is_eager", [False, True], ids=["lazy", "eager"])
def test_numbers_are_reduced_and_dealt_out(
    device: EmulatedDevice, tmp_path: Path, is_eager: bool
) -> None:
    first, second = talk("numbers", device, tmp_path, is_eager=is_eager)
    for found in (first, second):
        assert found["sum"] == [7.0, -1.0]
        assert found["max"] == [4.0, 0.0]
        assert found["min"] == [3.0, -1.0]
        assert found["avg"] == [3.5, -0.5]
        # Of what a kernel has written, and of more than 1 MiB, nothing is known: reads give zeros.
        assert found["computed"] == [0]
        assert found["large"] == [0.0]
    assert (first["reduce_scatter"], second["reduce_scatter"]) == ([10], [12])
    assert (first["all_to_all"], second["all_to_all"]) == ([0, 10], [1, 11])


@pytest.mark.parametrize("is_eager", [False, True], ids=["by unique ids", "split"])
def test_a_mesh_has_groups_of_its_ranks(
    device: EmulatedDevice, tmp_path: Path, is_eager: bool
) -> None:
    found = talk("groups", device, tmp_path, ranks=4, is_eager=is_eager)
    # Ranks 0 to 3 as 2 x 2: columns 0, 2 and 1, 3; rows 0, 1 and 2, 3.
    assert found == [[101, 11], [1010, 11], [101, 1100], [1010, 1100]]


def test_a_barrier_waits_and_nothing_else_does(device: EmulatedDevice, tmp_path: Path) -> None:
    first_s, second_s = talk("barrier", device, tmp_path)
    assert first_s > 0.5 > second_s
    first_s, _ = talk("ahead", device, tmp_path)
    assert first_s < 0.9


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("death", "the process of rank 1 has ended"),
        ("death_while_waited_for", "another rank has ended"),
    ],
)
def test_a_dead_rank_is_an_error_within_seconds(
    device: EmulatedDevice, tmp_path: Path, program: str, words: str
) -> None:
    (seconds, text), _ = talk(program, device, tmp_path, is_quiet_end=False, codes=(0, -9))
    assert seconds < 5.0
    assert words in text


def test_ranks_that_disagree_get_an_error(device: EmulatedDevice, tmp_path: Path) -> None:
    texts = talk("disagreement", device, tmp_path, is_quiet_end=False)
    assert "operation 1 of 32 bytes, and operation 1 of 24 bytes was expected" in texts[0]
    assert "operation 1 of 24 bytes, and operation 1 of 32 bytes was expected" in texts[1]


# The benchmark has more programs, more ranks, and PyTorch's fake group for each of them.
@pytest.mark.parametrize("program", ["fsdp2", "ddp", "zero1", "full-state", "cp", "tp", "pp-zbv"])
def test_a_rank_alone_has_the_same_peaks(program: str, device: EmulatedDevice) -> None:
    case = Case(program=program, ranks=2, steps=2)
    alone = peaks_alone(case, device, GROUPS[program][0])
    for pair in zip(alone, real_peaks(case, device), strict=True):
        assert agree(*pair), pair


def test_stages_send_their_shapes(device: EmulatedDevice) -> None:
    finding, given = (
        real_peaks(Case(program=program, ranks=2, steps=2), device)
        for program in ("pp-shapes", "pp")
    )
    for found, known in zip(finding, given, strict=True):
        assert found.allocated_bytes[-1] == known.allocated_bytes[-1]
