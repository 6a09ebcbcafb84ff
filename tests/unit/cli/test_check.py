"""`planner check`: the file of checks, shared estimates, the lock file, exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from planner.cli.root import root
from planner.errors import ModelError
from planner.questions import check as question
from planner.results.estimate import Estimate
from planner.units import GIB
from tests.unit.budget_records import block, card, estimate_of

TWO = """
[defaults]
gpu = "t4"
precision = "bf16"

[[check]]
name = "small"
target = "net.py"
batch = 8
max-peak = "3 GiB"

[[check]]
name = "same"
target = "net.py"
batch = 8
max-peak = "1 GiB"
"""


class Fake:
    """Stands for estimate(): remembers the calls; answers a card for each gpu, or raises."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.mib = 1024
        self.errors: dict[str, Exception] = {}

    def __call__(
        self, target: str, *, on_progress: Callable[[str], None], **options: Any
    ) -> Estimate:
        self.calls.append((target, options))
        on_progress("t4: searching")
        if target in self.errors:
            raise self.errors[target]
        gpus = ",".join(options["gpu"]).split(",")
        return estimate_of(*(card(block(self.mib, "a"), gpu=gpu) for gpu in gpus), target=target)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    function = Fake()
    monkeypatch.setattr(question, "estimate", function)
    return function


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / ".git").mkdir()
    (tmp_path / "net.py").write_text("import torch\n\ndef build_model(): ...\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(folder: Path, text: str, name: str = "planner.toml") -> None:
    (folder / name).write_text(text)


def one(extra: str = "", target: str = "net.py") -> str:
    return f'[[check]]\ntarget = "{target}"\ngpu = "t4"\n{extra}\n'


def run(*words: str) -> Result:
    return CliRunner().invoke(root, ["check", "-q", *words])


def test_checks_with_other_limits_share_an_estimate(folder: Path, fake: Fake) -> None:
    write(folder, TWO)
    result = run()
    assert result.exit_code == 3, result.output
    ((target, options),) = fake.calls
    assert target == "net.py"
    assert (options["batch_size"], options["precision"]) == (8, "bf16")
    assert list(options["gpu"]) == ["t4"]
    assert options["calibration"] is False
    assert "checks: 1 within, 1 exceeded" in result.stdout
    assert "same on t4: peak 2.00 GiB, 1.00 GiB above max-peak 1 GiB" in result.stdout


def test_other_options_are_other_estimates(folder: Path, fake: Fake) -> None:
    write(folder, one("batch = 1") + one('batch = 2\nname = "two"') + one('name = "three"'))
    assert run("--jobs", "2").exit_code == 0
    assert sorted(options["batch_size"] for _, options in fake.calls) == [1, 2, 8]


def test_the_lock_is_written_once_and_then_nothing_changes(folder: Path, fake: Fake) -> None:
    write(folder, TWO)
    first = run("--update")
    assert "the lock file is written" in first.stdout
    text = (folder / "planner.lock").read_bytes()
    assert str(folder).encode() not in text
    assert run("--update").exit_code == 3
    assert (folder / "planner.lock").read_bytes() == text
    outputs = []
    for number in range(2):
        names = [f"{number}.md", f"{number}.xml", f"{number}.sarif"]
        words = ("--markdown", names[0], "--junit", names[1], "--sarif", names[2])
        outputs.append(
            [run(*words).stdout, run("--json").stdout, run("-v").stdout]
            + [(folder / name).read_text() for name in names]
        )
    assert outputs[0] == outputs[1]
    assert "since the lock" in outputs[0][0]
    assert "unchanged" in outputs[0][0]


def test_growth_is_reported_and_limited_only_if_asked(folder: Path, fake: Fake) -> None:
    write(folder, one())
    assert run("--update").exit_code == 0
    fake.mib = 2048
    grown = run()
    assert grown.exit_code == 0
    assert "+1.00 GiB (50 %)" in grown.stdout
    assert "module a: +1.00 GiB (1.00 GiB -> 2.00 GiB)" in grown.stdout
    write(folder, one('max-growth = "5 %"'))
    assert run().exit_code == 3
    assert run("--update").exit_code == 0  # the growth is meant
    assert run().exit_code == 0


def test_a_growth_that_cannot_be_decided_is_not_within(folder: Path, fake: Fake) -> None:
    write(folder, one('max-growth = "5 %"'))
    result = run()
    assert result.exit_code == 1
    assert "the lock file has no figure of it: run planner check --update" in result.stdout


def test_a_target_that_fails_leaves_the_rest_done(folder: Path, fake: Fake) -> None:
    write(folder, one(target="bad.py") + one('max-peak = "1 GiB"'))
    fake.errors["bad.py"] = ModelError(f"RuntimeError in {folder}/bad.py")
    result = run("--update")
    assert result.exit_code == 1
    assert "bad.py: RuntimeError in bad.py" in result.stdout
    assert "net.py on t4: peak 2.00 GiB, 1.00 GiB above max-peak 1 GiB" in result.stdout
    assert list(json.loads((folder / "planner.lock").read_text())["checks"]) == ["net.py"]


def test_the_document_has_all_figures(folder: Path, fake: Fake) -> None:
    write(folder, one('max-peak = "3 GiB"\ngpu-memory = "9GiB"'))
    document = json.loads(run("--json").stdout)
    assert (document["schema_version"], document["verdict"]) == (1, "within")
    (check,) = document["checks"]
    assert check["options"] == {"gpu": "t4", "gpu-memory": "9GiB"}
    (on_card,) = check["cards"]
    assert on_card["figures"]["device_total_bytes"] == 2 * GIB
    assert on_card["figures"]["module_bytes"] == {"a": GIB}
    assert [limit["limit"] for limit in on_card["limits"]] == ["fits", "max-peak"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[defaults]\nbatch = 1", "there is no [[check]] in it"),
        ("[[check]]\ngpu = 't4'", "[[check]] 1: it has no target"),
        ("[[check]]\ntarget = 'net.py'", "[[check]] 1 (net.py): it names no card"),
        (one("max-peak = 20"), "(net.py): max-peak 20 has no unit: write it like 20 GiB"),
        (one("max-peak = '20'"), "max-peak 20 has no unit"),
        (one("max-peek = '20 GiB'"), "there is no option 'max-peek'"),
        (one("max-peek = '20 GiB'"), "limits are max-peak"),
        (one("batch = 0"), "(net.py): batch: 0 is not in the range"),
        (one("batch = 'many'"), "batch must be a whole number"),
        (one("batchs = 1"), "did you mean batch"),
        (one("global-batch = 64"), "there is no option 'global-batch'"),
        (one("precision = 'fp17'"), "(net.py): precision:"),
        (one("save = 'x'"), "save is no option of a check"),
        (one("json = true"), "json is no option of a check"),
        (one("device = 'cpu'"), "device and memory are of a run on a CPU"),
        (one("measure-data = true"), "measure-data times this machine"),
        (one("host = 'this'"), "host 'this' measures this machine"),
        (one("name = ''"), "name must be text"),
        (one() + one(), "two checks have the name 'net.py'"),
        (one("no-max-batch = true\nmin-largest-batch = 4"), "take no-max-batch out"),
        ("[[check]]\ntarget = 'net.py'\ngpu = 'auto'", "gpu must name cards"),
        ("[[check]]\ntarget = 'net.py'\ngpu = 'all'", "gpu must name cards"),
        ("[[check]]\ntarget = 'net.py'\ngpu = 't5000'", "t5000"),
        ("[[check]]\ntarget = 'net.py'\ngpu = 7", "no card named '7'"),
        ("[defaults]\nbatchs = 1\n" + one(), "there is no option 'batchs'"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_found_before_anything_is_run(
    folder: Path, fake: Fake, text: str, said: str
) -> None:
    write(folder, text)
    result = run()
    assert (result.exit_code, result.stdout, fake.calls) == (2, "", []), result.output
    assert said in result.stderr
    assert "planner.toml" in result.stderr


def test_a_named_file_and_a_table_of_pyproject(folder: Path, fake: Fake) -> None:
    text = one().replace("[[check]]", "[[tool.planner.check]]")
    write(folder, text, "pyproject.toml")
    assert run().exit_code == 0
    (folder / "sub").mkdir()
    write(folder / "sub", one('max-peak = "1 GiB"'), "budgets.toml")
    assert run("sub/budgets.toml", "--update").exit_code == 3
    assert (folder / "sub" / "planner.lock").is_file()
    assert not (folder / "planner.lock").exists()
    missing = run("none.toml")
    assert missing.exit_code == 2
    assert "there is no file none.toml" in missing.stderr


def test_without_a_file_the_message_says_what_to_write() -> None:
    result = run()
    assert result.exit_code == 2
    assert "there is no planner.toml here or above" in result.stderr


def test_one_check_by_name_and_the_lock_of_the_others_stays(folder: Path, fake: Fake) -> None:
    write(folder, TWO)
    run("--update")
    fake.mib = 2000
    assert run("--update", "--only", "small").exit_code == 0
    checks = json.loads((folder / "planner.lock").read_text())["checks"]
    sizes = {name: one["cards"]["t4"]["device_total_bytes"] for name, one in checks.items()}
    assert sizes["same"] == 2 * GIB < sizes["small"]
    result = run("--only", "smal")
    assert result.exit_code == 2
    assert "did you mean 'small'?" in result.stderr


@pytest.mark.parametrize("update", [False, True])
def test_a_lock_of_another_version_is_left_as_it_is(folder: Path, fake: Fake, update: bool) -> None:
    write(folder, one())
    other = '{"schema_version": 7, "checks": {}}'
    write(folder, other, "planner.lock")
    result = run(*(["--update"] if update else []))
    assert (result.exit_code, result.stdout, fake.calls) == (1, "", [])
    assert "has schema_version 7, and this planner knows 1" in result.stderr
    assert (folder / "planner.lock").read_text() == other


def test_a_place_that_cannot_be_written_is_found_first(folder: Path, fake: Fake) -> None:
    write(folder, one())
    result = run("--markdown", "no/budget.md")
    assert (result.exit_code, fake.calls) == (2, [])
    assert "--markdown" in result.stderr


def test_options_that_changed_since_the_lock_are_named(folder: Path, fake: Fake) -> None:
    write(folder, one('name = "a"'))
    run("--update")
    write(folder, one('name = "a"\nbatch = 16'))
    assert "a: option batch: not given -> 16" in run().stdout


def test_the_defaults_that_an_option_replaces_are_left_out(folder: Path, fake: Fake) -> None:
    write(
        folder,
        '[defaults]\ngpu = "a100"\nprice = "9 USD/h"\nprecision = "bf16"\nglobal-batch = 64\n'
        + one(),
    )
    assert run().exit_code == 0
    ((_, options),) = fake.calls
    assert "price" not in options  # of the a100
    assert options["precision"] == "bf16"


def test_places_are_those_in_the_repository(folder: Path, fake: Fake) -> None:
    (folder / "sub").mkdir()
    (folder / "sub" / "net.py").write_text("\ndef build_model(): ...\n")
    write(folder / "sub", one('max-peak = "1 GiB"') + one(target="a.b:c"))
    fake.errors["a.b:c"] = ModelError("no")
    run("sub/planner.toml", "--sarif", "found.sarif", "--junit", "found.xml")
    results = json.loads((folder / "found.sarif").read_text())["runs"][0]["results"]
    places = [one["locations"][0]["physicalLocation"] for one in results]
    assert [(one["artifactLocation"]["uri"], one["region"]["startLine"]) for one in places] == [
        ("sub/net.py", 2),
        ("sub/planner.toml", 1),
    ]
    assert 'file="sub/net.py" line="2"' in (folder / "found.xml").read_text()


def test_the_allocator_of_the_environment_is_an_option_that_differs(
    folder: Path, fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(folder, one())
    run("--update")
    monkeypatch.setenv("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")
    said = "option PYTORCH_CUDA_ALLOC_CONF: not given -> expandable_segments:True"
    assert said in run().stdout
    write(folder, one('alloc-conf = "backend:native"'))
    assert "option PYTORCH_CUDA_ALLOC_CONF" not in run().stdout


def test_names_of_the_file_cannot_steer_a_terminal(folder: Path, fake: Fake) -> None:
    write(folder, one('name = "\\u001b[31mred"'))
    text = run().stdout
    assert "\x1b" not in text
    assert "\\x1b[31mred" in text


def test_an_estimate_that_is_interrupted_ends_the_others(folder: Path, fake: Fake) -> None:
    write(folder, one(target="bad.py") + one())
    fake.errors["bad.py"] = KeyboardInterrupt()  # type: ignore[assignment]  # as Ctrl-C raises
    assert run("--jobs", "2").exit_code == 130
