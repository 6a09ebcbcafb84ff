"""Whatever a record, a model or a file is called, a terminal obeys none of it, nor does rich."""

from __future__ import annotations

import ast
import json
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from rich.console import Console

import planner
from planner.cli import output, tables
from planner.cli.progress import _Lines
from planner.cli.root import _MODULES, root
from planner.errors import ModelError, TargetError
from planner.hardware.yaml_files import own_folder
from planner.render.outside_text import shown, shown_lines, shown_record
from planner.verification import history
from tests.unit.cli.test_advise import made_advice
from tests.unit.cli.test_curve_and_compare import made_comparison, made_curve
from tests.unit.cli.test_history_command import KEPT
from tests.unit.cli.test_parallelize import made_parallelization

# A title, a cleared screen, a colour; rich markup, right and wrong; text from right to left; an
# 8-bit control; an emoji of rich; half of a pair; lines.
HOSTILE = (
    "x\x1b]0;PWN\x07\x1b[2J\x1b[31m[bold][/docs/t4]\u202e\x9b2J:smile:\udcff\u2028\r\nfits: yes"
)
# YAML itself refuses most controls in the file, and takes them as escapes.
OF_RECORD = "x\x1b]0;PWN\x07\x1b[2J[bold][/docs/t4]\u202e:smile:y"
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def refused(character: str) -> bool:
    return character != "\n" and unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"}


def is_clean(text: str, *, coloured: bool = False) -> bool:
    """Nothing to obey is in it but the colours of rich."""
    if coloured:
        text = COLOUR.sub("", text)
    return not any(refused(one) for one in text)


def poisoned(value: Any) -> Any:
    """The record with HOSTILE in each of its texts; the keys of mappings stay."""
    if isinstance(value, str) and not isinstance(value, Enum):
        return value + HOSTILE
    if type(value) in (tuple, list):
        return type(value)(poisoned(one) for one in value)
    if isinstance(value, Mapping):
        return {key: poisoned(one) for key, one in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return replace(
            value,
            **{
                one.name: poisoned(getattr(value, one.name))
                for one in fields(value)
                if one.init and one.name != "path"  # modules find each other by it
            },
        )
    return value


@pytest.fixture
def records(tmp_path: Path) -> Path:
    """A card, a processor and a host of ours and a model, with hostile texts where one is free."""

    def hostile(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {name: hostile(one, name) for name, one in value.items()}
        if isinstance(value, list):
            return [hostile(one, key) for one in value]
        free = key in ("name", "note", "sources", "basis", "quote", "source", "provider")
        return f"{value}{OF_RECORD}" if free and isinstance(value, str) else value

    host = min((own_folder() / "hosts").glob("*.yaml"))
    processor = yaml.safe_load(host.read_text())["cpu"]
    for kind, name in (("gpus", "t4"), ("cpus", processor), ("hosts", host.stem)):
        file = own_folder() / kind / f"{name}.yaml"
        record = hostile(yaml.safe_load(file.read_text()))
        if kind == "gpus":
            record["aliases"] = ["hostile-card"]
        (tmp_path / kind).mkdir()
        (tmp_path / kind / file.name).write_text(yaml.safe_dump(record))
    model = {
        "name": "lab/hostile", "library": "transformers", "model_class": "Hostile",
        "dtype": "float32", "parameters": 1, "parameters_source": f"x{OF_RECORD}",
        "source": f"x{OF_RECORD}", "date": "2026-11-28", "notes": f"x{OF_RECORD}",
        "config": {"model_type": f"x{OF_RECORD}", f"key{OF_RECORD}": [f"x{OF_RECORD}"]},
    }  # fmt: skip
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "hostile.yaml").write_text(
        yaml.safe_dump({"family": "hostile", "models": [model]})
    )
    return tmp_path


@pytest.fixture(params=[False, True], ids=["pipe", "terminal"])
def on_terminal(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether reports go to a terminal, with its colours."""
    if request.param:
        made = output.report_console

        def console(*_: int) -> Console:
            return Console(
                width=made().width, force_terminal=True, highlight=False, markup=False, emoji=False
            )

        monkeypatch.setattr(output, "report_console", console)
        monkeypatch.setattr(tables, "report_console", console)
    return bool(request.param)


def answer(monkeypatch: pytest.MonkeyPatch, name: str, result: Any) -> None:
    """The library answers with a hostile result, and tells a hostile progress."""

    def answered(*_: Any, on_progress: Callable[[str], None], **__: Any) -> Any:
        on_progress(f"{HOSTILE}: running")
        if isinstance(result, Exception):
            raise result
        return result

    monkeypatch.setattr(planner, name, answered)


def run(*words: str) -> Result:
    return CliRunner().invoke(root, words)


def check(result: Result, mark: str, *, coloured: bool) -> None:
    assert is_clean(result.stdout, coloured=coloured), ascii(result.stdout)
    assert is_clean(result.stderr), ascii(result.stderr)
    plain = COLOUR.sub("", result.stdout)
    assert "[bold][/docs/t4]" in plain  # shown, and not taken for markup
    assert ":smile:" in plain
    assert mark in plain
    assert "\nfits: yes" not in plain  # a name makes no line of its own


ESCAPED = r"x\x1b]0;PWN\x07\x1b[2J"


@pytest.mark.parametrize(
    "command", ["estimate", "curve", "compare", "inspect", "verify", "advise", "parallelize"]
)
def test_results(
    command: str,
    on_terminal: bool,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> None:
    if command in ("estimate", "inspect"):
        made = {
            command: request.getfixturevalue(
                {"estimate": "estimate", "inspect": "inspection"}[command]
            )
        }[command]
    else:
        made = {
            "curve": made_curve(),
            "compare": made_comparison(),
            "verify": KEPT,
            "advise": made_advice(),
            "parallelize": made_parallelization(),
        }[command]
    answer(monkeypatch, command, poisoned(made))
    gpu = () if command == "verify" else ("--gpu", "t4")
    gpu += ("--num-gpus", "8") if command == "parallelize" else ()
    file = str(tmp_path / "kept.planner")
    check(run(command, "model.py", *gpu, "--save", file), ESCAPED, coloured=on_terminal)
    check(run("show", file), ESCAPED, coloured=on_terminal)


def test_serving(on_terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    made = planner.serving("hf:meta-llama/Llama-3.1-8B", gpu="t4")
    answer(monkeypatch, "serving", poisoned(made))
    check(run("serving", "hf:model", "--gpu", "t4"), ESCAPED, coloured=on_terminal)


@pytest.mark.parametrize("words", [(), ("show", "1")], ids=["list", "show"])
def test_history(
    words: tuple[str, ...], on_terminal: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("VRAM_PLANNER_DATA", str(tmp_path))
    text = HOSTILE.replace("\udcff", "")  # SQLite takes no half of a pair
    history.add(replace(KEPT, target=text, device=replace(KEPT.device, name=f"T4 {text}")))
    check(run("history", *words), ESCAPED, coloured=on_terminal)


@pytest.mark.parametrize("kind", ["gpus", "cpus", "hosts"])
@pytest.mark.parametrize("form", ["list", "show"])
def test_records(records: Path, kind: str, form: str, on_terminal: bool) -> None:
    record_id = next((records / kind).glob("*.yaml")).stem
    words = ("show", record_id) if form == "show" else ()
    result = run(kind, *words, "--hardware-db", str(records))
    assert result.exit_code == 0, result.stderr
    check(result, ESCAPED, coloured=on_terminal)


def test_published_models(records: Path, on_terminal: bool) -> None:
    folder = ("--hardware-db", str(records))
    check(run("models", "show", "hostile", *folder), ESCAPED, coloured=on_terminal)
    listed = run("models", *folder)
    assert "lab/hostile" in listed.stdout
    assert is_clean(listed.stdout, coloured=on_terminal)
    for words in (("show", "hostile", "--json"), ("hostile", "--json")):
        document = json.loads(run("models", *words, *folder).stdout)
        model = document["model"] if "model" in document else document["models"][0]
        assert model["source"] == f"x{OF_RECORD}"


def test_every_command_is_tried_here() -> None:
    results = {"estimate", "curve", "compare", "inspect", "verify", "advise", "show", "history"}
    results |= {"parallelize", "serving"}
    # each has a file of its own here; the report of run is that of estimate
    elsewhere = {"doctor", "cache", "check", "diff", "learn", "run", "sweep", "ui"}
    elsewhere |= {"export", "report"}  # files; tests of render hold their texts
    assert results | {"gpus", "cpus", "hosts", "models"} | elsewhere == set(_MODULES)


def test_json_stays_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    made = poisoned(made_curve())
    answer(monkeypatch, "curve", made)
    result = run("curve", "model.py", "--gpu", "t4", "--json")
    assert json.loads(result.stdout) == json.loads(json.dumps(made.to_dict()))
    assert json.loads(result.stdout)["target"] == f"model.py{HOSTILE}"
    assert is_clean(result.stdout)


@pytest.mark.parametrize(
    "error", [TargetError(HOSTILE), ModelError(HOSTILE, HOSTILE), OSError(2, HOSTILE, HOSTILE)]
)
def test_errors(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    answer(monkeypatch, "estimate", error)
    result = run("estimate", "model.py", "--gpu", "t4")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.count(ESCAPED) > 1  # in progress and in the error
    assert is_clean(result.stderr)


@pytest.mark.parametrize("words", [("estimate",), (HOSTILE,), ("gpus", HOSTILE), ("gpus", "show")])
def test_words_of_the_command_line(words: tuple[str, ...]) -> None:
    result = run(*words, HOSTILE)
    assert (result.exit_code, result.stdout) == (2, "")
    assert is_clean(result.stderr)


def test_progress_in_place() -> None:
    lines = _Lines()
    for text in (f"{HOSTILE}: running", f"a100: {HOSTILE}; now {HOSTILE}"):
        lines.show(text)
        drawn = str(lines.__rich__())
        assert ESCAPED in drawn
        assert is_clean(drawn)
    assert len(drawn.splitlines()) == 2


@pytest.mark.parametrize(
    ("text", "line", "lines"),
    [
        ("plain, with blanks", "plain, with blanks", "plain, with blanks"),
        (
            "Grüße 漢字 😀 e\u0301 \u00a0",
            "Grüße 漢字 😀 e\u0301 \u00a0",
            "Grüße 漢字 😀 e\u0301 \u00a0",
        ),
        ("a\nb\tc\rd", r"a\nb\tc\rd", "a\nb\tc\\rd"),
        ("\x00\x1b\x7f\x9b", r"\x00\x1b\x7f\x9b", r"\x00\x1b\x7f\x9b"),
        ("\u202e\u2066\u200b\ufeff", r"\u202e\u2066\u200b\ufeff", r"\u202e\u2066\u200b\ufeff"),
        ("\udcff\u2028\u2029", r"\udcff\u2028\u2029", r"\udcff\u2028\u2029"),
    ],
)
def test_what_is_escaped(text: str, line: str, lines: str) -> None:
    assert (shown(text), shown_lines(text)) == (line, lines)


def test_a_clean_record_is_the_record_itself() -> None:
    assert shown_record(KEPT) is KEPT
    assert shown_record(replace(KEPT, target="\x1b")).target == r"\x1b"
    assert shown_record(replace(KEPT, warnings=("a\nb\x1b",))).warnings == ("a\nb\\x1b",)
    assert shown_record({"a": ["\x1b"]}) == {"a": [r"\x1b"]}


# Who may print, and what with; planner/worker is the child, whose streams are the model's too.
PRINTERS = {
    "cli/terminal.py": {"click.echo"},
    "cli/history.py": {"click.confirm"},  # numbers alone
    "cli/output.py": {"Console"},
    "cli/progress.py": {"Console"},  # prints Text that was made by `shown`
    "cli/trial_table.py": {"Console"},  # the same
    # A command of its own for those who make releases: prints their paths and versions.
    "emulator/wheel.py": {"sys.stdout.write", "sys.stderr.write"},
}
PRINTS = {
    "print", "click.echo", "click.secho", "click.confirm", "click.prompt", "Console",
    "sys.stdout.write", "sys.stderr.write", "Text.from_markup", "Text.from_ansi",
}  # fmt: skip


def printers(package: Path) -> dict[str, set[str]]:
    """The calls that print, by file."""
    found: dict[str, set[str]] = {}
    for path in sorted(package.rglob("*.py")):
        name = str(path.relative_to(package))
        if name.startswith("worker/"):
            continue
        calls = [one for one in ast.walk(ast.parse(path.read_text())) if isinstance(one, ast.Call)]
        used = {ast.unparse(one.func) for one in calls} & PRINTS
        if used:
            found[name] = used
    return found


def test_nothing_prints_past_what_escapes(tmp_path: Path) -> None:
    assert printers(Path(planner.__file__).parent) == PRINTERS
    (tmp_path / "new.py").write_text("import click\nclick.echo(name)\nprint(name)\n")
    assert printers(tmp_path) == {"new.py": {"click.echo", "print"}}
