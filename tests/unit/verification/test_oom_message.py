"""Messages "CUDA out of memory" as people published them, and as PyTorch's sources write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from planner.units import GIB, MIB
from planner.verification.oom_message import OomMessage, oom_messages, plain, segment_bytes

MESSAGES = Path(__file__).with_name("messages")


def gib(number: float) -> int:
    return int(number * GIB)


def message(name: str) -> OomMessage:
    (found,) = oom_messages(plain((MESSAGES / f"{name}.txt").read_text()))
    return found


# requested, total, free, allocated, held without tensors, process; GiB
@pytest.mark.parametrize(
    ("name", "figures"),
    [
        ("since-2-2", (22.78, 31.47, 12.73, 9.08, 9.35, 18.73)),
        ("since-2-2-small", (4.22, 15.69, 3.71, 10.14, 771.43 / 1024, 11.14)),
        ("since-2-1", (1.70, 6.00, 0, 2.93, 2.30, None)),
        ("since-2-1-free", (32 / 1024, 4.00, 41.56 / 1024, 2.58, 1.90 / 1024, 3.44)),
        ("before-2-1", (7.74, 23.69, 2.78, 18.60, 19.05 - 18.60, None)),
        ("before-2-1-fragmented", (16, 47.54, 6.30, 23.76, 39.59 - 23.76, None)),
        ("before-2-1-windows", (10.73, 8.00, 0, 17.20, 19.15 - 17.20, None)),
        ("before-2-1-wrong-size", (130674.91, 79.15, 37.61, 27.53, 28.21 - 27.53, None)),
    ],
)
def test_figures(name: str, figures: tuple[float | None, ...]) -> None:
    found = message(name)
    read = (
        found.requested_bytes, found.total_bytes, found.free_bytes, found.allocated_bytes,
        found.unallocated_bytes, found.process_bytes,
    )  # fmt: skip
    assert read == tuple(
        None if one is None else pytest.approx(one * GIB, abs=4) for one in figures
    )
    assert (found.device, found.processes, found.allowed_bytes) == (0, (), None)


def test_memory_outside_of_pytorch_is_what_the_process_has_more() -> None:
    found = message("since-2-2")
    assert found.outside_bytes == pytest.approx(gib(18.73 - 9.08 - 9.35), abs=4)
    assert found.others_bytes == pytest.approx(gib(31.47 - 12.73 - 18.73), abs=4)
    assert message("since-2-1").outside_bytes is None
    assert message("before-2-1").others_bytes is None


def test_what_is_missing_is_counted_in_whole_segments() -> None:
    assert message("since-2-2").missing_bytes == pytest.approx(gib(22.78 - 12.73), abs=2 * MIB)
    assert message("since-2-1-free").missing_bytes < 0
    assert [segment_bytes(one) for one in (1, MIB, MIB + 1, 10 * MIB, 10 * MIB + 1)] == [
        2 * MIB, 2 * MIB, 20 * MIB, 10 * MIB, 12 * MIB,
    ]  # fmt: skip


def test_all_parts_of_the_newest_wording() -> None:
    """c10/cuda/CUDACachingAllocator.cpp: other processes, a limit, private pools."""
    text = (
        "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 3 has a total capacity of 79.15 GiB "
        "of which 1.00 GiB is free. Process 12 has 40.00 GiB memory in use. Process 3456 has "
        "512.00 MiB memory in use. Including non-PyTorch memory, this process has 30.00 GiB memory "
        "in use. 39.58 GiB allowed; Of the allocated memory 20.00 GiB is allocated by PyTorch, "
        "with 3.00 GiB allocated in private pools (e.g., CUDA Graphs), and 9.00 GiB is reserved "
        "by PyTorch but "
        "unallocated. If reserved"
    )
    (found,) = oom_messages(plain(text))
    assert found.processes == ((12, 40 * GIB), (3456, 512 * MIB))
    assert (found.device, found.process_bytes) == (3, 30 * GIB)
    assert found.allowed_bytes == gib(39.58)
    assert found.private_pools_bytes == 3 * GIB
    assert found.outside_bytes == GIB


def test_what_was_cached_until_1_3_is_without_tensors() -> None:
    text = (
        "RuntimeError: CUDA out of memory. Tried to allocate 20.00 MiB (GPU 1; 10.76 GiB total "
        "capacity; 8.95 GiB already allocated; 13.31 MiB free; 150.00 MiB cached)"
    )
    (found,) = oom_messages(text)
    assert (found.device, found.unallocated_bytes) == (1, 150 * MIB)


def test_a_limit_of_the_process_in_the_older_wording() -> None:
    text = (
        "CUDA out of memory. Tried to allocate 1.00 GiB (GPU 0; 8.00 GiB total capacity; 2.00 GiB "
        "already allocated; 5.00 GiB free; 4.00 GiB allowed; 3.00 GiB reserved in total by PyTorch)"
    )
    (found,) = oom_messages(text)
    assert (found.allowed_bytes, found.unallocated_bytes) == (4 * GIB, GIB)


def test_line_breaks_and_colours_of_a_pasted_message_do_not_count() -> None:
    text = (MESSAGES / "since-2-2.txt").read_text()
    broken = "".join(f"\x1b[31m{word}\x1b[0m\n    " for word in text.split(" "))
    assert oom_messages(plain(broken)) == oom_messages(plain(text))


def test_equal_messages_count_once_and_all_are_in_order() -> None:
    first, second = ((MESSAGES / f"{name}.txt").read_text() for name in ("before-2-1", "since-2-2"))
    found = oom_messages(plain(f"{second} Traceback {first} {second}"))
    assert [one.total_bytes for one in found] == [gib(31.47), gib(23.69)]


@pytest.mark.parametrize("text", ["", "CUDA error: out of memory", "CUDA out of memory. Tried to"])
def test_other_texts_have_none(text: str) -> None:
    assert oom_messages(text) == ()
