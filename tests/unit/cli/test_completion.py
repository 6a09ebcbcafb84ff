"""What a shell offers: commands, options, choices, cards, processors, hosts, models and files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import BashComplete

from planner.cli.root import root
from planner.hardware.database import load_gpus
from planner.memory.card_words import DEFAULT_CARDS

ROOT = Path(__file__).parents[3]


def offered(*words: str) -> list[str]:
    """What is offered for the last of the words."""
    complete = BashComplete(root, {}, "planner", "_PLANNER_COMPLETE")
    return [item.value for item in complete.get_completions(list(words[:-1]), words[-1])]


def test_commands_and_their_options() -> None:
    assert offered("c") == ["curve", "compare", "check", "cpus"]
    assert offered("--v") == ["--version"]
    assert "--no-config" in offered("estimate", "--no-")
    assert offered("gpus", "s") == ["show"]


@pytest.mark.parametrize(
    "words",
    [
        ("estimate", "x.py", "--gpu"),
        ("curve", "x.py", "--gpu"),
        ("compare", "x.py", "--gpu"),
        ("inspect", "x.py", "--gpu"),
        ("verify", "x.py", "--emulated"),
        ("gpus", "show"),
    ],
    ids=" ".join,
)
def test_cards(words: tuple[str, ...]) -> None:
    assert offered(*words, "a100-s") == ["a100-sxm4-40gb", "a100-sxm4-80gb"]
    every = offered(*words, "")
    assert set(load_gpus().ids) <= set(every)
    assert ("auto" in every) == (words[0] != "gpus")
    assert ("all" in every) == (words[0] in ("estimate", "compare"))


def test_a_card_is_offered_however_it_is_begun() -> None:
    for begun in ("rtx4090", "RTX-4090", "4090"):
        assert offered("estimate", "x.py", "--gpu", begun) == ["rtx-4090", "rtx-4090-d"]
    assert offered("estimate", "x.py", "--gpu", "l4,a100-s") == [
        "l4,a100-sxm4-40gb",
        "l4,a100-sxm4-80gb",
    ]
    assert offered("estimate", "x.py", "--gpu", "nonsense") == []


def test_own_records_are_offered_where_their_folder_is_given(tmp_path: Path) -> None:
    text = (ROOT / "hardware_db" / "gpus" / "t4.yaml").read_text(encoding="utf-8")
    own = text.replace("id: t4\n", "id: zz-mine\n").replace("name: Tesla T4", "name: ZZ Mine")
    lines = [line for line in own.splitlines() if not line.startswith(("aliases", "assumed_for"))]
    (tmp_path / "zz-mine.yaml").write_text("\n".join(lines))
    words = ("estimate", "x.py", "--hardware-db", str(tmp_path), "--gpu", "zz")
    assert offered(*words) == ["zz-mine"]
    assert offered("estimate", "x.py", "--hardware-db", "/nowhere", "--gpu", "t4") == []


def test_processors_and_hosts() -> None:
    assert "epyc-7742" in offered("estimate", "x.py", "--cpu", "epyc-77")
    assert offered("estimate", "x.py", "--host", "g5") == ["aws-g5-xlarge"]
    assert "this" in offered("estimate", "x.py", "--host", "th")
    assert "epyc-7742" in offered("cpus", "show", "7742")
    assert "this" in offered("hosts", "show", "")


def test_published_models() -> None:
    assert offered("models", "show", "llama-3.2-1") == ["meta-llama/Llama-3.2-1B"]
    assert offered("models", "show", "openai/whisper-t") == ["openai/whisper-tiny"]
    assert offered("models", "show", "nonsense") == []
    assert offered("models", "s") == ["show"]


def test_choices() -> None:
    assert offered("estimate", "x.py", "--precision", "amp") == ["amp-fp16", "amp-bf16"]
    assert offered("compare", "x.py", "--by", "") == ["time", "cost", "energy"]


def test_a_target_is_a_file() -> None:
    complete = BashComplete(root, {}, "planner", "_PLANNER_COMPLETE")
    (item,) = complete.get_completions(["estimate"], "mod")
    assert (item.type, item.value) == ("file", "mod")


def test_a_broken_config_file_is_no_hindrance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "planner.toml").write_text("[defaults")
    monkeypatch.chdir(tmp_path)
    assert offered("estimate", "x.py", "--gpu", "t4") == ["t4"]


@pytest.mark.slow
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_gets_its_script(shell: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "planner"], cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "_PLANNER_COMPLETE": f"{shell}_source"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert f"_PLANNER_COMPLETE={shell}_complete" in done.stdout


def test_completing_imports_neither_torch_nor_what_runs_a_step() -> None:
    code = (
        "import sys\n"
        "from click.shell_completion import BashComplete\n"
        "from planner.cli.root import root\n"
        "complete = BashComplete(root, {}, 'planner', '_PLANNER_COMPLETE')\n"
        "print(*(i.value for i in complete.get_completions(['estimate', 'x.py', '--gpu'], 'a')))\n"
        "print(*sys.modules, file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "a100-sxm4-80gb" in done.stdout.split()
    loaded = set(done.stderr.split())
    assert "planner.cli.estimate" in loaded
    assert not loaded & {"torch", "rich", "planner.questions.estimate", "concurrent.futures"}


def test_the_cards_that_stand_in_are_named_in_the_help() -> None:
    from click.testing import CliRunner

    text = " ".join(CliRunner().invoke(root, ["estimate", "--help"]).stdout.split())
    assert all(name in text for name in DEFAULT_CARDS)
