"""`planner learn` with a trace of torch.profiler: what it says, and what is kept of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

import planner
from planner.cli.root import root
from planner.timing.kernel_times import kernel_time
from planner.timing.kernels import kernels_of
from planner.verification import history
from planner.verification.profiler_trace import profiler_trace
from planner.verification.store import VARIABLE
from planner.verification.traced_records import record_of
from tests.made_traces import T4, MadeTrace
from tests.unit.cli.test_hostile_texts import HOSTILE, is_clean

ELEMENTS = 50_000_000
MESSAGES = Path(__file__).parents[1] / "verification" / "messages"


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "data"))


def relu_us() -> float:
    """Microseconds that a relu's work is predicted to take."""
    made = MadeTrace()
    made.relu(0, 1, ELEMENTS)
    (operator,) = profiler_trace(made.data()).operators
    record = record_of(operator)
    assert record is not None
    return 1e6 * kernel_time(kernels_of(record)[0], T4).busy_s


def made(factor: float = 2.0, **card: object) -> MadeTrace:
    """Two steps of a relu with `factor` times its work, and of an operator without a rule."""
    trace = MadeTrace(**card)  # type: ignore[arg-type] # name and memory
    for number in range(2):
        start = 50_000 * number
        trace.step(number, start, 45_000)
        trace.relu(start + 10, factor * relu_us() + 2, ELEMENTS)
        trace.operator("mine::own", start + 20_000, 5, [[8]], ["float"])
        trace.kernel(start + 20_001, 500)
        trace.relu(start + 30_000, 2, 10)
    return trace


def write(folder: Path, trace: MadeTrace, name: str = "worker0.pt.trace.json.gz") -> str:
    file = folder / name
    file.write_bytes(trace.packed() if name.endswith("gz") else trace.data())
    return str(file)


def run(*words: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(root, ["learn", *words])
    return done.exit_code, done.stdout, done.stderr


@pytest.mark.parametrize("name", ["a.pt.trace.json.gz", "trace.json", "trace"])
def test_a_trace_is_kept(tmp_path: Path, name: str) -> None:
    code, text, said = run(write(tmp_path, made(), name))
    assert (code, said) == (0, "")
    assert f"{T4.name}: 6 kernels of 2 whole steps" in text
    assert "elementwise, single" in text
    assert "  2.00" in text
    assert "- not compared: mine::own (" in text
    assert "kept: times of kernels, as entry 1 of `planner history`" in text
    (entry,) = history.kept()
    assert entry.card == T4.name


def test_it_is_kept_once(tmp_path: Path) -> None:
    file = write(tmp_path, made())
    assert run(file)[1] == run(file)[1]
    assert len(history.kept()) == 1


def test_nothing_is_kept_where_that_was_not_asked_for(tmp_path: Path) -> None:
    code, text, _ = run(write(tmp_path, made()), "--no-keep")
    assert code == 0
    assert "nothing is kept: it was not asked for" in text
    assert history.kept() == ()


def test_factors_that_are_too_far_are_shown_and_not_kept(tmp_path: Path) -> None:
    text = run(write(tmp_path, made(20.0)))[1]
    assert "20.00  not used: too far to be the same kernels" in text
    assert "nothing is kept: every kind of kernel is too far from its prediction" in text
    assert history.kept() == ()


def test_json_and_python_say_the_same(tmp_path: Path) -> None:
    file = write(tmp_path, made())
    code, text, _ = run(file, "--json", "--no-keep")
    assert code == 0
    document = json.loads(text)
    found = planner.learn_trace(file, keep=False)
    assert document == {"schema_version": 1, **found.to_dict()}
    assert document["comparisons"][0]["factor"] == pytest.approx(2.0)
    assert document["comparisons"][0]["is_used"] is True
    assert document["not_compared"] == [{"operator": "mine::own", "seconds": pytest.approx(5e-4)}]
    assert found.step_s == pytest.approx(0.045)


def test_history_lists_shows_exports_and_deletes_it(tmp_path: Path) -> None:
    run(write(tmp_path, made()))

    def command(*words: str) -> str:
        done = CliRunner().invoke(root, ["history", *words])
        assert done.exit_code == 0, done.output
        return done.stdout

    assert "profiler trace " in command()
    assert json.loads(command("--json"))["entries"][0]["kind"] == "trace"
    assert command("--card", "other") == command("--target", "other")
    shown = command("show", "1")
    assert "elementwise, single" in shown
    assert "2.00" in shown
    assert json.loads(command("show", "1", "--json"))["card_id"] == T4.id
    assert json.loads(command("export"))["factors"][0]["factor"] == pytest.approx(2.0)
    command("delete", "1", "--yes")
    assert history.ids_kept() == ()


@pytest.mark.parametrize(
    ("card", "words", "says"),
    [
        ({}, ("--gpu", "a100"), f"the trace is of {T4.name} (t4), not of a100"),
        ({"device": "Own Card"}, (), "no card named 'Own Card'"),
        ({"device": ""}, (), "the trace does not name its card: say it with --gpu"),
        ({"device": "Own Card", "memory_bytes": 5 << 30}, ("--gpu", "t4"), "with 5.00 GiB, and t4"),
        ({"memory_bytes": 80 << 30}, (), "the driver names a card Tesla T4 with 80.0 GiB"),
        ({}, ("--gpu", "no-such"), "no card named 'no-such'"),
    ],
)
def test_another_card(
    tmp_path: Path, card: dict[str, object], words: tuple[str, ...], says: str
) -> None:
    code, text, said = run(write(tmp_path, made(**card)), *words)  # type: ignore[arg-type] # as above
    assert (code, text) == (2, "")
    assert says in " ".join(said.split())
    assert history.kept() == ()


@pytest.mark.parametrize(
    ("card", "words", "says"),
    [
        ({}, ("--gpu", "t4"), "kept: times"),
        (
            {"device": "Own Card"},
            ("--gpu", "t4"),
            "names Own Card, which has no record: taken for t4",
        ),
        ({"device": "", "memory_bytes": 0}, ("--gpu", "t4"), "names no card, which has no record"),
    ],
)
def test_a_named_card(
    tmp_path: Path, card: dict[str, object], words: tuple[str, ...], says: str
) -> None:
    code, text, _ = run(write(tmp_path, made(**card)), *words)  # type: ignore[arg-type] # as above
    assert code == 0
    assert says in text


def test_without_steps_it_says_so(tmp_path: Path) -> None:
    trace = MadeTrace()
    trace.relu(0, 2 * relu_us(), ELEMENTS)
    text = run(write(tmp_path, trace))[1]
    assert "1 kernel of one span" in text
    assert "the trace marks no steps (prof.step() was not called)" in text


def test_messages_may_have_slowed_the_kernels(tmp_path: Path) -> None:
    trace = made()
    for start in (42_000, 92_000):
        trace.operator("c10d::allreduce_", start, 5, [[8]], ["float"])
        trace.kernel(start + 1, 1500, name="ncclDevKernel_AllReduce_Sum_f32_RING_LL()")
    text = run(write(tmp_path, trace))[1]
    assert "messages between GPUs ran beside kernels and may have slowed them" in text
    assert "messages between GPUs 1.500 ms" in " ".join(text.split())
    assert "may have slowed them" not in run(write(tmp_path, made()))[1]


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("trace.json", b"hello", "is not JSON"),
        ("trace.json", b'{"a": 1}', "no trace of torch.profiler"),
        ("trace.json.gz", b"\x1f\x8b\x08\x00", "its gzip data end too early"),
        ("trace.json", b"", "is not JSON"),
    ],
)
def test_bad_files(tmp_path: Path, name: str, data: bytes, says: str) -> None:
    file = tmp_path / name
    file.write_bytes(data)
    code, text, said = run(str(file))
    assert (code, text) == (2, "")
    assert says in " ".join(said.split())
    assert "Traceback" not in said


def test_a_message_in_a_file_of_json_is_still_a_message(tmp_path: Path) -> None:
    message = MESSAGES / "since-2-2.txt"
    file = tmp_path / "log.json"
    file.write_text(f'[{{"level": "error"}}]\n{message.read_text()}')
    assert "a tensor of 22.8 GiB was asked for" in run(str(file))[1]


def test_hostile_names(tmp_path: Path) -> None:
    trace = made(device=f"Own{HOSTILE}")
    trace.operator(f"aten::x{HOSTILE}", 42_000, 5, [[8]], [f"float{HOSTILE}"])
    trace.kernel(42_001, 500, name=f"void k{HOSTILE}()")
    file = write(tmp_path, trace)
    code, text, _ = run(file, "--gpu", "t4")
    assert code == 0
    assert is_clean(text)
    assert is_clean(run(file)[2])
    for words in ((), ("show", "1")):
        done = CliRunner().invoke(root, ["history", *words])
        assert done.exit_code == 0
        assert is_clean(done.stdout)
