"""Defaults of a project's file: found, checked, under the command line, and said in the report."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

import planner
from planner.cli import file_defaults, options
from planner.cli.config_file import find_config
from planner.cli.file_defaults import long_options
from planner.cli.root import root
from planner.errors import UsageError
from planner.results.estimate import Estimate


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, in a repository of its own."""
    (tmp_path / ".git").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch, estimate: Estimate) -> dict[str, Any]:
    """The options of the last call of planner.estimate."""
    seen: dict[str, Any] = {}

    def stand_in(target: Any, **options: Any) -> Estimate:
        seen.update(options)
        return estimate

    monkeypatch.setattr(planner, "estimate", stand_in)
    return seen


def write(folder: Path, text: str, name: str = "planner.toml") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)
    return folder / name


def run(*words: str) -> Result:
    return CliRunner().invoke(root, ["estimate", "net.py", *words])


def test_the_nearest_file_counts_up_to_the_root_of_the_repository(folder: Path) -> None:
    inner = folder / "src" / "jobs"
    inner.mkdir(parents=True)
    assert find_config(inner) is None
    outer = write(folder, "[defaults]\nbatch = 1\n")
    found = find_config(inner)
    assert found is not None
    assert found.path == outer
    nearer = write(folder / "src", "[defaults]\nbatch = 2\n")
    found = find_config(inner)
    assert found is not None
    assert (found.path, found.defaults) == (nearer, {"batch": 2})
    (inner / ".git").write_text("gitdir: elsewhere")  # a worktree
    assert find_config(inner) is None


def test_the_home_folder_is_the_last(folder: Path) -> None:
    home = folder / "home" / "me"
    (home / "work").mkdir(parents=True)
    write(folder / "home", "[defaults]\nbatch = 1\n")
    assert find_config(home / "work", home) is None
    write(home, "[defaults]\nbatch = 2\n")
    found = find_config(home / "work", home)
    assert found is not None
    assert found.path.parent == home


def test_outside_of_both_only_the_working_directory_counts(folder: Path) -> None:
    (folder / ".git").rmdir()
    inner = folder / "a"
    inner.mkdir()
    write(folder, "[defaults]\nbatch = 1\n")
    assert find_config(inner, folder / "nobody") is None
    assert find_config(folder, folder / "nobody") is not None


def test_a_table_of_pyproject(folder: Path) -> None:
    write(folder, "[project]\nname = 'planner-user'\n", "pyproject.toml")
    assert find_config(folder) is None
    write(folder, "[tool.planner-x]\nbroken = \n", "pyproject.toml")
    assert find_config(folder) is None  # of no matter here
    project = write(folder, "[tool.planner.defaults]\ngpu = 't4'\n", "pyproject.toml")
    found = find_config(folder)
    assert found is not None
    assert (found.defaults, found.place) == ({"gpu": "t4"}, f"{project} [tool.planner]")
    own = write(folder, "[defaults]\ngpu = 'l4'\n")
    found = find_config(folder)
    assert found is not None
    assert found.path == own


def test_values_reach_the_library_and_the_command_line_wins(
    folder: Path, given: dict[str, Any]
) -> None:
    write(
        folder,
        """[defaults]
gpu = ["a100", "t4"]
batch = 32
precision = "amp-bf16"
channels-last = true
checkpoint-activations = false
no-max-batch = true
optimizer = "sgd"
optimizer-arg = ["lr=0.1", "momentum=0.9"]
clip-grad-norm = 1
ema = true
reserve = "5%"
timeout = 90
host = "g5.xlarge"
workers = 4
dataset-size = 50000
no-pin-memory = true
hardware-db = "cards"
global-batch = 64
""",
    )
    result = run("--batch", "4", "--precision", "fp16")
    assert result.exit_code in (0, 3), result.output
    assert (given["batch_size"], given["precision"]) == (4, "fp16")
    assert given["gpu"] == ("a100", "t4")
    assert (given["channels_last"], given["checkpoint_activations"]) == (True, False)
    assert given["max_batch"] is False
    assert (given["optimizer"], given["optimizer_arguments"]) == (
        "sgd",
        ("lr=0.1", "momentum=0.9"),
    )
    assert (given["clip_grad_norm"], given["ema"], given["reserve"]) == (1.0, 0.999, "5%")
    assert (given["timeout_s"], given["host"], given["workers"]) == (90.0, "g5.xlarge", 4)
    assert (given["dataset_size"], given["pin_memory"]) == ("50000", False)
    assert given["hardware_db"] == folder / "cards"
    assert "global_batch" not in given  # of curve


def test_no_config_ignores_the_file(folder: Path, given: dict[str, Any]) -> None:
    write(folder, "[defaults]\nbatch = 'broken'\n")
    result = run("--no-config")
    assert result.exit_code in (0, 3)
    assert given["batch_size"] == 8
    assert "defaults of" not in result.stdout
    assert CliRunner().invoke(root, ["estimate", "--help"]).exit_code == 0


@pytest.mark.parametrize(
    ("file", "words", "gone"),
    [
        ('gpu = "a100"', ["--device", "cpu"], ["gpu"]),
        ('gpu = "a100"\nprice = "2 USD/h"', ["--memory", "1GiB"], ["gpu", "price"]),
        ('device = "cpu"', ["--gpu", "t4"], ["device"]),
        ('gpu = "a100"\ngpu-memory = "20GiB"', ["--gpu", "t4"], ["gpu", "gpu-memory"]),
        ('gpu = "a100"\nprice = "2 USD/h"', ["--host", "g5.xlarge"], ["gpu", "price"]),
        ('cpu = "epyc-7742"', ["--host", "this"], ["cpu"]),
        ('optimizer = "sgd"\noptimizer-arg = "momentum=0.9"', ["--optimizer", "lion"],
         ["optimizer", "optimizer-arg"]),
        ("seq = 128", ["--input", "ids=64:int64"], ["seq"]),
        ("measure-data = true", ["--data", "tokens"], ["measure-data"]),
        ("ema = 0.9\nclip-grad-norm = 1.0", ["--mode", "infer"], ["ema", "clip-grad-norm"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_what_was_given_wins_over_what_goes_with_it(
    folder: Path, given: dict[str, Any], file: str, words: list[str], gone: list[str]
) -> None:
    write(folder, f"[defaults]\nreserve = '1%'\n{file}\n")
    result = run(*words)
    assert result.exit_code in (0, 3), result.output
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("defaults of")]
    assert line == f"defaults of {folder / 'planner.toml'}: reserve 1%"
    assert set(gone) <= {line.partition(" =")[0] for line in file.splitlines()}


def test_a_memory_without_a_card_is_of_every_card(folder: Path, given: dict[str, Any]) -> None:
    write(folder, "[defaults]\ngpu-memory = '20GiB'\n")
    run("--gpu", "t4")
    assert (given["gpu"], given["gpu_memory"]) == (("t4",), "20GiB")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[defaults]\nprecison = 'fp16'", "there is no option 'precison'; did you mean precision?"),
        ("[defaults]\nxyzzy = 1", "keys are long options, as --batch is batch"),
        ("[defaults]\ntarget = 'x.py'", "there is no option 'target'"),
        ("[defaults]\nno-config = true", "no-config is for the command line alone"),
        ("[defaults]\nhelp = true", "help is for the command line alone"),
        ("[defaults]\ncsv = 'figures.csv'", "csv is for the command line alone"),
        ("[defaults]\nsave = 'run.planner'", "save is for the command line alone"),
        ("[defaults]\nbatch = '8'", "batch must be a whole number, not '8'"),
        ("[defaults]\nbatch = 8.5", "batch must be a whole number, not 8.5"),
        ("[defaults]\nbatch = true", "batch must be a whole number, not True"),
        ("[defaults]\nbatch = 0", "batch: 0 is not in the range"),
        ("[defaults]\nbatch = [8, 16]", "batch must be a whole number"),
        ("[defaults]\nprecision = 'float16'", "precision: 'float16' is not one of"),
        ("[defaults]\nprecision = 16", "precision must be text, not 16"),
        ("[defaults]\nchannels-last = 1", "channels-last must be true or false, not 1"),
        ("[defaults]\npue = 'low'", "pue must be a number"),
        ("[defaults]\ntimeout = 'soon'", "'soon' is not a duration"),
        ("[defaults]\ngpu = [true]", "gpu must be text or a number"),
        ("[defaults]\nhost = ['a', 'b']", "host must be text or a number, not ['a', 'b']"),
        ("[defaults]\nmodel-arg = ['depth']", "KEY=VALUE"),
        ("[defaults]\nbatch = 1979-05-27", "batch must be a whole number"),
        ("[check]\ngpu = 't4'", "check must be tables: [[check]]"),
        ("[default]\nbatch = 1", "no table or key 'default'; did you mean [defaults]?"),
        ("batch = 1", "no table or key 'batch'; options stand under [defaults]"),
        ("defaults = 3", "defaults must be a table"),
        ("[defaults", "it is not TOML"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_a_file_names_file_and_key(
    folder: Path, given: dict[str, Any], text: str, said: str
) -> None:
    file = write(folder, text)
    result = run()
    assert (result.exit_code, result.stdout) == (2, ""), result.output
    assert str(file) in result.stderr
    assert said in result.stderr
    assert not given


def test_a_file_that_is_no_text(folder: Path) -> None:
    (folder / "planner.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="not UTF-8"):
        find_config(folder)
    (folder / "planner.toml").write_bytes(b" " * (1 << 21))
    with pytest.raises(UsageError, match="more than"):
        find_config(folder)


def test_a_mistake_that_the_library_finds_names_the_file_too(folder: Path) -> None:
    (folder / "net.py").write_text("def build_model(): pass\n")
    file = write(folder, "[defaults]\ngpu = 'a1000'\n")
    result = run()
    assert (result.exit_code, result.stdout) == (2, "")
    assert "no card named 'a1000'" in result.stderr
    assert f"defaults of {file}: gpu a1000\n" in result.stderr


def test_the_json_names_the_file_only_where_one_was_used(
    folder: Path, given: dict[str, Any], estimate: Estimate
) -> None:
    assert json.loads(run("--json").stdout) == json.loads(json.dumps(estimate.to_dict()))
    file = write(folder, "[defaults]\ngpu = ['t4']\nseq = 128\n")
    document = json.loads(run("--json", "--gpu", "l4").stdout)
    assert document.pop("defaults_file") == {"file": str(file), "options": {"seq": 128}}
    assert document == json.loads(json.dumps(estimate.to_dict()))
    assert "defaults_file" not in json.loads(run("--json", "--gpu", "l4", "--seq", "8").stdout)


def test_every_command_of_a_step_reads_it_and_takes_what_it_knows(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, dict[str, Any]] = {}

    def never(name: str) -> Callable[..., Any]:
        def stand_in(target: Any, **options: Any) -> Any:
            seen[name] = options
            raise planner.PlannerError("enough")

        return stand_in

    keys = ("batch = 3", "depth = 1", "batches = [1, 2]", "by = 'cost'", "tolerance = '2%'")
    write(folder, "\n".join(["[defaults]", *keys]))
    for name in ("estimate", "curve", "compare", "verify", "inspect"):
        monkeypatch.setattr(planner, name, never(name))
        result = CliRunner().invoke(root, [name, "net.py", "-q"])
        assert result.exit_code == 1, result.output
        assert seen[name]["batch_size"] == 3
    assert seen["inspect"]["depth"] == 1
    assert seen["curve"]["batches"] == (1, 2)
    assert seen["compare"]["by"] == "cost"
    assert seen["verify"]["tolerance"] == "2%"


def test_other_commands_do_not_read_it(folder: Path) -> None:
    write(folder, "[defaults]\nbroken = 1\n")
    assert CliRunner().invoke(root, ["gpus"]).exit_code == 0


def test_the_library_does_not_read_it(folder: Path) -> None:
    from planner.estimation.request import model_request

    (folder / "net.py").write_text("def build_model(): pass\n")
    write(folder, "[defaults]\nbatch = 3\n")
    assert model_request("net.py").config.batch_size == 8


def test_a_working_directory_that_is_gone_has_no_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = folder / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert find_config() is None
    monkeypatch.chdir(folder)


@pytest.mark.parametrize("name", ["estimate", "curve", "compare", "verify", "inspect"])
def test_a_file_chooses_no_file_to_write(name: str) -> None:
    command = root.get_command(click.Context(root), name)
    assert command is not None
    written = {
        key
        for key, option in long_options(command).items()
        if option.callback is options.in_a_folder
    }
    assert "save" in written
    assert written <= set(file_defaults._NEVER)
