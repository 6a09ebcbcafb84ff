"""`planner curve` and `planner compare`: options to call, result to stdout, error to exit code."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

import planner
from planner.cli.root import root
from planner.cli.speed_options import speed_options
from planner.config.step import StepConfig
from planner.errors import PlannerError, UnknownGpuError, UsageError
from planner.estimation.job import NAMES
from planner.questions.compare import compare
from planner.questions.curve import curve
from planner.results.comparison import CardComparison, ComparedCard, LeftOut, RankBy
from planner.results.curve import Curve, CurvePoint
from planner.results.estimate import Versions
from planner.units import GIB

pytestmark = pytest.mark.usefixtures("model_file")

VERSIONS = Versions(torch="2.14.1", cuda="13.0", cudnn=None, python="3.11.7", planner="0.1.0")


class Fake:
    """Stands for planner.curve or planner.compare: remembers the call, returns or raises."""

    def __init__(self, result: object) -> None:
        self.result = result
        self.target: Any = None
        self.options: dict[str, Any] = {}

    def __call__(
        self, target: Any, *, on_progress: Callable[[str], None], **options: Any
    ) -> object:
        self.target, self.options = target, options
        on_progress("counting batch 8")
        if isinstance(self.result, BaseException):
            raise self.result
        return self.result


def made_curve(*, fits: bool = True) -> Curve:
    point = CurvePoint(
        batch_size=8, step_s=0.016, samples_per_s=500.0, device_total_bytes=GIB, fits=fits,
        bound="compute",
    )  # fmt: skip
    return Curve(
        target="model.py", gpu="t4", gpu_name="Tesla T4", points=(point,), largest_batch_size=90,
        knee=8, recommended_batch_size=8, accumulate=None, global_batch_size=None,
        usable_memory_bytes=15 * GIB, currency=None, config=StepConfig(), versions=VERSIONS,
    )  # fmt: skip


def made_comparison(*, fits: bool = True) -> CardComparison:
    card = ComparedCard(
        requested="t4", name="Tesla T4", usable_memory_bytes=15 * GIB, fits=fits,
        max_batch_size=90, batch_size=8, step_s=0.016, samples_per_s=500.0, bound="compute",
    )  # fmt: skip
    return CardComparison(
        target="model.py", by=RankBy.TIME, cards=(card,),
        left_out=(LeftOut(requested="mi300x", reason="no"),), epoch_samples=1_280_000,
        config=StepConfig(), versions=VERSIONS,
    )  # fmt: skip


@pytest.fixture
def fake_curve(monkeypatch: pytest.MonkeyPatch) -> Fake:
    """planner.curve replaced by a function that answers at once."""
    function = Fake(made_curve())
    monkeypatch.setattr(planner, "curve", function)
    return function


@pytest.fixture
def fake_compare(monkeypatch: pytest.MonkeyPatch) -> Fake:
    """planner.compare replaced by a function that answers at once."""
    function = Fake(made_comparison())
    monkeypatch.setattr(planner, "compare", function)
    return function


@pytest.fixture
def no_child(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever gets as far as the emulated device has checked too little."""

    def started(*_: object) -> None:
        raise AssertionError("a child was about to be started")

    monkeypatch.setattr("planner.estimation.session.emulated_device", started)


def run(*words: str) -> Result:
    return CliRunner().invoke(root, words)


def test_curve_passes_on_what_was_said(fake_curve: Fake) -> None:
    result = run(
        "curve", "model.py", "--gpu", "t4", "--batches", "1,8, 64", "--global-batch", "256",
        "--batch", "4", "--precision", "amp-bf16", "--no-pin-memory", "--workers", "0",
        "--alloc-conf", "expandable_segments:True",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    options = fake_curve.options
    assert (fake_curve.target, options["gpu"]) == ("model.py", "t4")
    assert (options["batches"], options["global_batch"]) == ((1, 8, 64), 256)
    assert (options["batch_size"], options["precision"]) == (4, "amp-bf16")
    assert {name: options[name] for name in NAMES if name in options} == {
        "pin_memory": False, "workers": 0,
    }  # fmt: skip
    assert options["alloc_conf"] == "expandable_segments:True"
    assert "knee at batch 8" in result.stdout
    assert "counting batch 8" in result.stderr


def test_compare_takes_all_cards_and_a_batch_for_each(fake_compare: Fake) -> None:
    assert run("compare", "model.py").exit_code == 0
    assert fake_compare.options["gpu"] == ("all",)
    assert fake_compare.options["batch_size"] is None
    assert fake_compare.options["by"] == "time"
    run("compare", "model.py", "--gpu", "t4", "--gpu", "l4", "--by", "energy", "--batch", "3")
    assert fake_compare.options["gpu"] == ("t4", "l4")
    assert (fake_compare.options["by"], fake_compare.options["batch_size"]) == ("energy", 3)


@pytest.mark.parametrize("command", ["curve", "compare"])
def test_json_and_csv(command: str, fake_curve: Fake, fake_compare: Fake, tmp_path: Path) -> None:
    result = run(command, "model.py", "--gpu", "t4", "--json", "--csv", f"{tmp_path / 'x.csv'}")
    made = {"curve": made_curve(), "compare": made_comparison()}[command]
    assert json.loads(result.stdout) == json.loads(json.dumps(made.to_dict()))
    assert (tmp_path / "x.csv").read_text() == made.to_csv()
    fake_curve.target = fake_compare.target = None
    failed = run(command, "model.py", "--gpu", "t4", "--csv", f"{tmp_path / 'no' / 'x.csv'}")
    assert (failed.exit_code, failed.stdout) == (2, "")
    assert "there is no folder" in failed.stderr
    assert fake_curve.target is fake_compare.target is None  # before anything ran


@pytest.mark.parametrize("command", ["curve", "compare"])
def test_a_full_disk_does_not_cost_the_table(
    command: str, fake_curve: Fake, fake_compare: Fake
) -> None:
    whole = run(command, "model.py", "--gpu", "t4")
    full = run(command, "model.py", "--gpu", "t4", "--csv", "/dev/full", "-q")
    assert full.exit_code == 1
    assert full.stdout == whole.stdout
    assert full.stderr == "error: /dev/full could not be written: No space left on device\n"


@pytest.mark.parametrize("command", ["curve", "compare"])
def test_exit_code_3_where_nothing_fits(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planner, "curve", Fake(made_curve(fits=False)))
    monkeypatch.setattr(planner, "compare", Fake(made_comparison(fits=False)))
    assert run(command, "model.py", "--gpu", "t4").exit_code == 3
    monkeypatch.setattr(planner, command, Fake(PlannerError("broken")))
    result = run(command, "model.py", "--gpu", "t4")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "error: broken" in result.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["curve", "model.py"], "--gpu"),
        (["curve", "model.py", "--gpu", "t4", "--batches", "1,x"], "not a list of batches"),
        (["curve", "model.py", "--gpu", "t4", "--batches", ""], "not a list of batches"),
        (["curve", "model.py", "--gpu", "t4", "--batches", "0,8"], "at least 1, not 0"),
        (["curve", "model.py", "--gpu", "t4", "--batches", "-8"], "at least 1, not -8"),
        (["curve", "model.py", "--gpu", "t4", "--global-batch", "0"], "--global-batch"),
        (["curve", "model.py", "--gpu", "t5000"], "t5000"),
        (["curve", "model.py", "--gpu", "all"], "one card"),
        (["curve", "model.py", "--gpu", "mi300x"], "cannot be emulated"),
        (["curve", "model.py", "--gpu", "t4", "--pue", "0.5"], "PUE"),
        (["compare", "model.py", "--gpu", "t5000"], "t5000"),
        (["compare", "model.py", "--gpu", "all", "--gpu", "t4"], "leave the others out"),
        (["compare", "model.py", "--gpu", "mi300x"], "only NVIDIA"),
        (["compare", "model.py", "--by", "beauty"], "beauty"),
        (["compare", "model.py", "--batch", "0"], "--batch"),
        (["compare", "model.py", "--dataset-size", "many"], "many"),
        (["compare", "model.py", "--price", "cheap"], "cheap"),
        (["compare", "model.py", "--host", "nowhere"], "nowhere"),
    ],
    ids=lambda value: " ".join(value[2:]) if isinstance(value, list) else "",
)
@pytest.mark.usefixtures("no_child")
def test_bad_words_are_found_before_anything_is_started(words: list[str], said: str) -> None:
    result = run(*words)
    assert result.exit_code == 2, (result.output, result.exception)
    assert said in result.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"batches": "1,2"}, "batches must be whole numbers"),
        ({"batches": []}, "give 1 to 64 batches, not 0"),
        ({"batches": range(1, 66)}, "not 65"),
        ({"batches": [1, True]}, "not True"),
        ({"batches": [1.5]}, r"not 1\.5"),
        ({"global_batch": 0}, "global batch of 0"),
        ({"global_batch": "8"}, "global_batch must be a whole number"),
        ({"global_batch": 64, "accumulate": 2}, "leave that out"),
        ({"global_batch": 64, "mode": "infer"}, "inference has none of"),
        ({"global_batch": 64, "mode": "INFER"}, "inference has none of"),
        ({"gpu": ["t4", "l4"]}, r"planner\.compare\(\)"),
        ({"alloc_conf": ["a:b", "c:d"]}, "one text"),
        ({"btach_size": 4}, "did you mean batch_size"),
        ({"device": "cpu"}, "no option 'device'"),
    ],
    ids=str,
)
@pytest.mark.usefixtures("no_child")
def test_the_library_checks_the_rest(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        curve("model.py", **{"gpu": "t4", **options})


@pytest.mark.usefixtures("no_child")
def test_compare_checks_what_it_ranks_by() -> None:
    with pytest.raises(UsageError, match="by 'beauty' is not one of time, cost, energy"):
        compare("model.py", by="beauty")
    with pytest.raises(UnknownGpuError, match="t5000"):
        compare("model.py", gpu=["t4", "t5000"])
    with pytest.raises(UsageError, match="say which card"):
        compare("model.py", gpu=[])


def test_speed_options_are_those_of_a_speed_request() -> None:
    given: dict[str, Any] = {}

    @click.command()
    @speed_options
    def command(**options: Any) -> None:
        given.update(options)

    words = (
        "--data tokens --measure-data --workers 2 --prefetch-factor 3 --no-pin-memory --cpu a "
        "--host b --ram 1GiB --price c --prices d --dataset-size 5k --pue 1.2 "
        "--power-limit 200"
    )
    assert CliRunner().invoke(command, []).exit_code == 0
    assert given == {}
    assert CliRunner().invoke(command, words.split()).exit_code == 0
    assert tuple(sorted(given)) == tuple(sorted(NAMES))
    assert given["pin_memory"] is False
    assert given["measure_data"] is True
