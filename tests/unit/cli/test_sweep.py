"""`planner sweep`: words to the library, exit codes, and what show and export print."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import planner
from planner.cli.root import root
from planner.sweeps.case import COLUMNS, SweepRow
from planner.sweeps.result import SweepResult
from planner.sweeps.store import writing
from tests.unit.sweep_rows import case, made_row

ROWS = (
    made_row(2.0, 0.3, target="a|b.py", gpu="t4"),
    made_row(20.0, 0.1, target="a|b.py", gpu="l4"),
    made_row(None, target="c.py", gpu="t4"),
)


def run(*words: str) -> Result:
    return CliRunner(env={"COLUMNS": "200"}).invoke(root, ["sweep", *words])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with three rows, and a case that has none."""
    with writing(tmp_path / "kept") as store:
        store.add_cases(
            [
                *(case(target=row.target, gpu=row.gpu) for row in ROWS),
                case(target="d.py"),
            ]
        )
        store.keep(ROWS)
    return tmp_path / "kept"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the library was asked; it answers with ROWS."""
    words: dict[str, Any] = {"rows": ROWS}

    def sweep(target: Any, **options: Any) -> SweepResult:
        words.update(options, target=target)
        return SweepResult(rows=words["rows"], folder=options["out"])

    monkeypatch.setattr(planner, "sweep", sweep)
    return words


def test_lists_of_the_command_line(asked: dict[str, Any]) -> None:
    words = ["a.py", "b.py", "--gpu", "t4,l4", "--gpu", "a100", "--batch", "8,32", "--seq", "512"]
    result = run(*words, "--precision", "fp32,amp-bf16", "--with", "optimizer=adamw,sgd", "--with",
                 "checkpoint-activations=true,false", "--jobs", "2", "--out", "o")  # fmt: skip
    assert result.exit_code == 1  # one case failed
    named = {name: asked[name] for name in ("target", "gpu", "batch", "seq", "precision")}
    assert named == {
        "target": ["a.py", "b.py"],
        "gpu": ["t4,l4", "a100"],
        "batch": [8, 32],
        "seq": [512],
        "precision": ["fp32", "amp-bf16"],
    }
    assert asked["optimizer"] == ["adamw", "sgd"]
    assert asked["checkpoint-activations"] == [True, False]
    assert (asked["jobs"], asked["out"], asked["executor"]) == (2, Path("o"), "local")
    assert asked["matrix"] is None
    assert "3 cases: 1 fit, 1 do not, 1 failed\n" in result.stdout
    assert "c.py on t4, batch 8, as-built: the model's code failed: ValueError: no" in result.stdout
    assert "planner sweep show o --rank step-time" in result.stdout


def test_a_matrix_and_options_before_it(asked: dict[str, Any]) -> None:
    asked["rows"] = ROWS[:2]
    result = run("--retry-failed", "m.yaml", "--json", "--confirm")
    assert result.exit_code == 0
    assert (asked["matrix"], asked["target"], asked["retry_failed"]) == (Path("m.yaml"), [], True)
    assert asked["confirm"] is True
    document = json.loads(result.stdout)
    assert document["schema_version"] == 1
    assert [row["outcome"] for row in document["rows"]] == ["ok", "does-not-fit"]
    assert set(document["rows"][0]) == set(COLUMNS)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("m.yaml", "a.py"), "m.yaml is a matrix, which names the targets"),
        (("a.py", "--gpu", "t4", "--batch", "8,,9"), "has an empty value"),
        (("a.py", "--gpu", "t4", "--with", "optimizer"), "must be like optimizer=adamw,sgd"),
        (("a.py", "--gpu", "t44"), "t44"),
        (("a.py",), "has no gpu"),
        ((), "has no case"),
        (("missing.yaml",), "missing.yaml: cannot be read"),
        (("a.py", "--gpu", "t4", "--executor", "k8s"), "executor 'k8s' is not one of local"),
        (("show", "kept", "--csv", "--json"), "say one of"),
        (("show", "kept", "--pivot", "target,gpu,peak", "--rank", "peak"), "leave --by and --rank"),
        (("export", "kept", "rows.xlsx"), "must end in .parquet or .csv"),
        (("show", "kept", "--rank", "speed"), "'speed' is no column"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_is_refused(
    words: tuple[str, ...], says: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.parent)
    result = run(*words, *(("--out", "o") if words[:1] not in (("show",), ("export",)) else ()))
    assert (result.exit_code, result.stdout) == (2, "")
    assert says in result.stderr


def test_help_has_the_options_and_the_commands() -> None:
    text = run("--help").stdout
    assert "--executor" in text
    assert "show" in text
    assert "export" in text
    assert "Exit codes" in text


def test_show_ranks_and_says_what_is_missing(folder: Path) -> None:
    result = run("show", str(folder), "--rank", "peak")
    assert result.exit_code == 0
    assert result.stderr == "1 of 4 cases have no row yet\n"
    lines = result.stdout.splitlines()
    assert lines[0].split()[:4] == ["target", "gpu", "batch", "precision"]
    assert [line.split()[1] for line in lines[1:4]] == ["t4", "l4", "t4"]
    assert "20.0 GiB" in lines[2]
    assert lines[4].startswith("c.py on t4, batch 8, as-built: the model's code failed")


def test_show_as_markdown_in_groups_and_as_a_grid(folder: Path) -> None:
    text = run("show", str(folder), "--by", "gpu", "--markdown").stdout
    assert text.startswith("### t4\n\n| target | gpu |")
    assert r"| a\|b.py | t4 | 8 | as-built | ok | 2.00 GiB |" in text
    text = run("show", str(folder), "--pivot", "target,gpu,peak", "--markdown").stdout
    assert text.splitlines()[2:] == [r"| a\|b.py | 2.00 GiB | 20.0 GiB |", "| c.py |  |  |"]
    found = json.loads(run("show", str(folder), "--pivot", "target,gpu,peak", "--json").stdout)
    assert found["grid"][0] == {"target": "a|b.py", "t4": 2 << 30, "l4": 20 << 30}
    text = run("show", str(folder), "--pivot", "target,gpu,peak", "--csv").stdout
    assert text.splitlines()[1] == f"a|b.py,{2 << 30},{20 << 30}"
    assert (
        "a|b.py  2.00 GiB  20.0 GiB"
        in run("show", str(folder), "--pivot", "target,gpu,peak").stdout
    )


def test_a_largest_batch_that_no_run_has_confirmed_is_said_to_be_about(tmp_path: Path) -> None:
    rows = [made_row(target=name) for name in ("a.py", "b.py")]
    object.__setattr__(rows[1], "max_batch_confirmed", False)
    with writing(tmp_path) as store:
        store.add_cases([case(target=row.target) for row in rows])
        store.keep(rows)
    lines = run("show", str(tmp_path)).stdout.splitlines()
    assert " 64 " in lines[1]
    assert " about 64 " in lines[2]
    assert "about" not in lines[1]


def test_csv_and_json_have_every_column(folder: Path, tmp_path: Path) -> None:
    text = run("show", str(folder), "--csv").stdout
    rows = list(csv.DictReader(io.StringIO(text)))
    assert tuple(rows[0]) == COLUMNS
    assert (rows[0]["step_s"], rows[0]["max_batch_confirmed"], rows[2]["step_s"]) == (
        "0.3",
        "true",
        "",
    )
    found = json.loads(run("show", str(folder), "--where", "outcome=ok", "--json").stdout)
    assert [
        SweepRow.from_record({**row, "assumptions": "[]", "warnings": "[]"})
        for row in found["rows"]
    ] == [ROWS[0]]
    assert run("export", str(folder), str(tmp_path / "rows.csv")).exit_code == 0
    assert (tmp_path / "rows.csv").read_text() == text


def test_parquet_has_the_same_rows(folder: Path, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    file = tmp_path / "rows.parquet"
    assert run("export", str(folder), str(file)).exit_code == 0
    found = [SweepRow.from_record(row) for row in parquet.read_table(file).to_pylist()]
    assert tuple(found) == ROWS


def test_parquet_without_pyarrow(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "pyarrow", None)
    result = run("export", str(folder), str(tmp_path / "rows.parquet"))
    assert result.exit_code == 1
    assert "pip install 'vram-planner[parquet]'" in result.stderr


HOSTILE = "x\x1b]0;PWN\x07\x1b[2J \u202egpj [bold][/docs/t4] :smile:"


@pytest.mark.parametrize(
    "words", [(), ("--by", "target"), ("--markdown",), ("--pivot", "target,gpu,target")], ids=str
)
def test_hostile_texts(tmp_path: Path, words: tuple[str, ...]) -> None:
    row = made_row(None, target=HOSTILE)
    object.__setattr__(row, "reason", HOSTILE)
    with writing(tmp_path) as store:
        store.add_cases([case(target=HOSTILE)])
        store.keep([row])
    result = run("show", str(tmp_path), *words)
    assert result.exit_code == 0, result.stderr
    assert "\x1b" not in result.stdout
    assert "\u202e" not in result.stdout
    assert r"\x1b]0;PWN" in result.stdout.replace("\\\\", "\\")
    assert "[bold][/docs/t4] :smile:" in result.stdout
