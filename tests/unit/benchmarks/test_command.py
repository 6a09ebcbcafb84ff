"""The harness of whole commands sees what it checks. Small modules stand in for planner."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks.command import ROOT, Ended, faults, marked_processes, run_command
from benchmarks.faults.cases import CASES, MODELS, RARE
from benchmarks.option_fuzz import DONE, drawn
from planner.machine.processes import living_processes


def run(folder: Path, source: str, limit_s: float = 20.0) -> Ended:
    (folder / "hostile.py").write_text(source)
    return run_command(("--json",), limit_s=limit_s, module="hostile", checkout=folder)


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("print('{}')", ""),
        ("print('{\"a\": NaN}')", "not strict JSON"),
        ("print('nothing')", "not strict JSON"),
        ("pass", "an answer without a report"),
        ("raise SystemExit(9)", "exit code 9"),
        ("raise SystemExit(1)", "no message"),
        ("print('{}'); raise SystemExit('wrong')", "stdout not empty with an error"),
        ("import sys; print('{}'); sys.stderr.write('\\x1b[31m')", "an escape"),
        (
            "import os; print('{}'); open(os.environ['TMPDIR'] + '/left', 'w').close()",
            "files left: ('left'",
        ),
        (
            "import subprocess; print('{}'); n = subprocess.DEVNULL\n"
            "subprocess.Popen(['sleep', '60'], start_new_session=True, stdout=n, stderr=n)",
            "processes left",
        ),
    ],
)
def test_what_is_wrong_is_seen(tmp_path: Path, source: str, fault: str) -> None:
    found = faults(run(tmp_path, source), codes={0, 1})
    assert len(found) == bool(fault), found
    assert fault in "".join(found)


def test_what_does_not_end_is_ended(tmp_path: Path) -> None:
    begun = time.monotonic()
    source = "import os, time\nif not os.fork(): os.setsid()\ntime.sleep(60)"
    ended = run(tmp_path, source, limit_s=2.0)
    assert time.monotonic() - begun < 30
    assert faults(ended, codes={0}) == ("no answer in the time",)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_benchmark_that_is_ended_ends_what_it_runs(tmp_path: Path, number: int) -> None:
    (tmp_path / "hostile.py").write_text(
        "import os, pathlib, time\npathlib.Path('begun').write_text(os.environ['TMPDIR'])\n"
        "time.sleep(60)"
    )
    source = (
        "from pathlib import Path\nfrom benchmarks.command import end_on_signals, run_command\n"
        "end_on_signals()\n"
        f"run_command((), limit_s=50, module='hostile', checkout=Path({str(tmp_path)!r}))"
    )
    # A shell starts commands in the background with SIGINT ignored.
    shell = f"trap '' INT; exec {sys.executable} -c \"$0\""
    process = subprocess.Popen(["sh", "-c", shell, source], cwd=ROOT, stderr=subprocess.PIPE)
    begun, ends = tmp_path / "begun", time.monotonic() + 30
    while not (begun.exists() and begun.read_text()) and time.monotonic() < ends:
        time.sleep(0.05)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=30)
    assert b"KeyboardInterrupt" in stderr
    assert not Path(begun.read_text()).exists()
    assert not [line for line in _command_lines() if "-m hostile" in line]


def _command_lines() -> list[str]:
    lines = []
    for entry in living_processes():
        with contextlib.suppress(OSError):
            raw = Path("/proc", str(entry.pid), "cmdline").read_bytes()
            lines.append(raw.replace(b"\0", b" ").decode(errors="replace"))
    return lines


def test_a_traceback_of_planner_is_seen_and_one_of_others_is_not(tmp_path: Path) -> None:
    frame = 'Traceback (most recent call last):\n  File "{}", line 1, in f\nValueError: x\n'
    for path, wrong in (("/a/planner/wire/trace.py", True), ("/a/models/gpt2.py", False)):
        text = frame.format(path)
        source = f"import sys; sys.stderr.write({text!r}); sys.exit(1)"
        found = faults(run(tmp_path, source), codes={1})
        assert found == (("a traceback of planner",) if wrong else ())


def test_the_message_is_checked(tmp_path: Path) -> None:
    ended = run(tmp_path, "raise SystemExit('no such card')")
    assert faults(ended, codes={1}, says="such c.rd") == ()
    assert faults(ended, codes={1}, says="SIGSEGV") != ()


def test_a_mark_of_nobody_finds_nobody() -> None:
    assert marked_processes("no process has this") == {}


def test_every_hostile_file_is_in_the_table_once() -> None:
    names = [case.name for case in CASES]
    assert sorted(names) == sorted(path.stem for path in MODELS.glob("*.py"))
    assert set(names) >= RARE
    assert {case.runs for case in CASES} == {3, 20}


def test_a_number_gives_the_same_command_again() -> None:
    commands: list[Any] = [drawn(1, number) for number in range(300)]
    assert commands == [drawn(1, number) for number in range(300)]
    assert commands != [drawn(2, number) for number in range(300)]
    assert {one.arguments[0] for one in commands} == set(DONE)
    wrong = sum(one.codes == {2} for one in commands)
    assert 30 < wrong < 200  # wrong ones are there, and most commands run
