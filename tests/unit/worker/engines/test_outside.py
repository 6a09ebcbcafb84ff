"""What other libraries did on the emulated card, in words."""

from __future__ import annotations

import pytest

from planner.wire.trace import Failure, OutsideMemory
from planner.worker.engines.outside import assumptions, explained

MIB = 1 << 20
NOTHING = OutsideMemory()


def test_plain_jobs_have_nothing_to_say() -> None:
    assert assumptions(["attention-flash", "size-unknown-cusolver"], NOTHING) == ()


def test_unified_memory_and_others_are_told_apart() -> None:
    taken = OutsideMemory(total_bytes=30 * MIB, managed_bytes=20 * MIB)
    unified, others = assumptions([], taken)
    assert unified.startswith("20.0 MiB of unified memory (cudaMallocManaged) are counted")
    assert "the driver moves them to the host" in unified
    assert others.startswith("10.0 MiB that libraries take from CUDA themselves (cudaMalloc)")


def test_a_failure_comes_with_the_calls_that_were_refused() -> None:
    failure = Failure(kind="RuntimeError", message="no limit", during="step 1")
    found = explained(failure, ["refused:fast:cudaDeviceGetLimit"])
    assert found is not None
    first, second = found.message.splitlines()
    assert first == "no limit"
    assert second.startswith("fast called cudaDeviceGetLimit, which the emulated device does not")
    assert explained(failure, ["attention-flash"]) is failure
    assert explained(None, ["refused:fast:cudaDeviceGetLimit"]) is None


@pytest.mark.parametrize(
    ("notes", "said"),
    [
        (["refused:fast:cudaOne"], ("fast called cudaOne, which",)),
        (
            ["refused:fast:cudaOne", "refused:other_lib.so:cuTwo", "refused:fast:cudaTwo"],
            ("fast called cudaOne, cudaTwo, which", "other_lib.so called cuTwo, which"),
        ),
        (
            [f"refused:fast:cuda{n}" for n in range(6)],
            ("fast called cuda0, cuda1, cuda2, cuda3 and 2 more functions, which",),
        ),
        (["size-unknown-cudnn"], ("workspaces of cudnn are taken as 256 bytes",)),
    ],
)
def test_calls_that_are_not_emulated(notes: list[str], said: tuple[str, ...]) -> None:
    found = assumptions(notes, NOTHING)
    assert len(found) == len(said)
    for text, beginning in zip(found, said, strict=True):
        assert text.startswith(beginning)
