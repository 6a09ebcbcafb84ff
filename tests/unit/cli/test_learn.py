"""`planner learn`: what a message means, and what is kept of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

import planner
from planner.cli.root import root
from planner.hardware.database import load_gpus
from planner.units import MIB
from planner.verification import history
from planner.verification.calibration import calibrate, comparable
from planner.verification.store import VARIABLE

MESSAGES = Path(__file__).parents[1] / "verification" / "messages"


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "data"))


def run(*words: str, text: str | None = None) -> tuple[int, str, str]:
    done = CliRunner().invoke(root, ["learn", *words], input=text)
    return done.exit_code, done.stdout, done.stderr


def of(name: str, *words: str) -> str:
    code, text, said = run(str(MESSAGES / f"{name}.txt"), *words)
    assert (code, said) == (0, "")
    return text


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("since-2-2", "they would still be 718 MiB too little"),
        ("since-2-2", "12.7 GiB free and a tensor of 22.8 GiB was asked for: 10.1 GiB too little"),
        (
            "since-2-2-small",
            "fragmentation: PyTorch holds 771 MiB in pieces without a tensor, more",
        ),
        ("since-2-1", "more than the 1.70 GiB that are missing"),
        ("since-2-1-free", "the driver still gave nothing"),
        ("before-2-1", "expandable_segments:True would not help: only 461 MiB"),
        ("before-2-1", "NVIDIA GeForce RTX 3090, "),
        ("before-2-1-fragmented", "fragmentation: PyTorch holds 15.8 GiB"),
        ("before-2-1-windows", "the driver moved some to host memory, as on Windows"),
        ("before-2-1-wrong-size", "a size in the code is probably wrong"),
        ("vllm-v0", "the KV cache is what gpu_memory_utilization leaves of the card"),
        ("vllm-v1", "a token takes 47.5 KiB of KV cache"),
        ("vllm-too-long", "20.8 GiB more than there is"),
        ("vllm-too-long", "lower --max-model-len to 34,736 or less"),
        ("vllm-too-long-old", "vLLM did not start: its KV cache is too small"),
    ],
)
def test_what_it_means(name: str, says: str) -> None:
    assert says in of(name)


def test_others_on_the_card() -> None:
    text = (
        "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.15 GiB "
        "of which 1.00 GiB is free. Process 12 has 40.00 GiB memory in use. Including non-PyTorch "
        "memory, this process has 38.15 GiB memory in use. Of the allocated memory 37.00 GiB is "
        "allocated by PyTorch, and 0.50 GiB is reserved by PyTorch but unallocated."
    )
    code, report, _ = run(text=text)
    assert code == 0
    assert (
        "other processes (process 12) have 40.0 GiB of the card; without them: this would" in report
    )


def test_the_context_of_a_named_card_is_kept_and_used() -> None:
    """11.14 GiB of the process - 10.14 GiB - 771.43 MiB of PyTorch = 252.57 MiB, to a rounding."""
    text = of("since-2-2-small", "--gpu", "rtx-4080")
    assert "kept: the context overhead, as entry 1 of `planner history`" in text
    (entry,) = history.entries()
    card = load_gpus().find("rtx-4080").spec
    assert entry.card == card.name
    assert entry.measured.context_overhead_bytes == pytest.approx(252.57 * MIB, abs=4)
    assert entry.predicted.context_overhead_bytes == card.context_overhead_bytes
    assert not entry.confirmed
    found = calibrate(comparable([entry], torch="2.14.1", driver=None))
    assert found is not None
    assert found.context_overhead_bytes == entry.measured.context_overhead_bytes
    assert (found.reserved_offset_bytes, found.step_time_ratio) == (0, None)
    assert CliRunner().invoke(root, ["history"]).exit_code == 0
    assert CliRunner().invoke(root, ["history", "show", "1"]).exit_code == 0
    assert "as entry 1 of" in of("since-2-2-small", "--gpu", "rtx-4080"), "one message counts once"
    assert len(history.entries()) == 1


@pytest.mark.parametrize(
    ("name", "words", "says"),
    [
        ("since-2-2-small", (), "the message does not name the card: say it with --gpu"),
        ("since-2-2-small", ("--gpu", "rtx-4080", "--no-keep"), "it was not asked for"),
        ("since-2-2-small", ("--gpu", "t4"), "a Tesla T4 has 14.6 GiB, and the message says 15.7"),
        ("before-2-1", ("--gpu", "rtx3090"), "does not say how much memory this process has"),
        ("vllm-v0", ("--gpu", "rtx3090"), "its non-torch memory is without the context"),
    ],
)
def test_what_is_not_sure_is_not_kept(name: str, words: tuple[str, ...], says: str) -> None:
    text = of(name, *words)
    assert "nothing is kept: " in text
    assert says in text
    assert history.entries() == ()


def test_several_processes_measure_no_context() -> None:
    text = f"[rank1]: {(MESSAGES / 'since-2-2-small.txt').read_text()}"
    assert "NCCL takes memory that is not the context" in run("--gpu", "rtx-4080", text=text)[1]
    assert history.entries() == ()


def test_json_and_python_say_the_same() -> None:
    text = (MESSAGES / "since-2-2.txt").read_text()
    document = json.loads(of("since-2-2", "--json"))
    assert document == {"schema_version": 1, **planner.learn(text, keep=True).to_dict()}
    assert document["messages"][0]["device"] == 0


def test_a_text_that_says_nothing(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("CUDA error: device-side assert")
    code, text, said = run(str(file))
    assert (code, text) == (2, "")
    assert 'has neither "CUDA out of memory. Tried to allocate ..." of PyTorch nor' in said
    assert run(text="")[0] == 2
    assert run(str(tmp_path / "absent"))[0] == 2


def test_the_end_of_a_long_log_counts(tmp_path: Path) -> None:
    file = tmp_path / "train.log"
    file.write_bytes(b"loss \xff 0.1\n" * (20 << 17))
    with file.open("ab") as log:
        log.write((MESSAGES / "since-2-1.txt").read_bytes())
    assert run(str(file))[0] == 0


def test_texts_of_the_log_cannot_steer_the_terminal() -> None:
    code, text, _ = run(text=f"\x1b]0;x\x07{(MESSAGES / 'since-2-2.txt').read_text()}\x1b[2J")
    assert code == 0
    assert "\x1b" not in text
