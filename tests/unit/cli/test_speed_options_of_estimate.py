"""Words on data, host and money: from the command line to the library, or to a clear error."""

from __future__ import annotations

from typing import Any

import pytest
from click.testing import CliRunner, Result

import planner
from planner.cli.root import root
from planner.estimation.job import NAMES
from planner.memory.card_words import DEFAULT_CARDS
from planner.results.estimate import Estimate

pytestmark = pytest.mark.usefixtures("model_file")


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch, estimate: Estimate) -> dict[str, Any]:
    """The options of the last call of planner.estimate."""
    seen: dict[str, Any] = {}

    def stand_in(target: Any, **options: Any) -> Estimate:
        seen.update(options)
        return estimate

    monkeypatch.setattr(planner, "estimate", stand_in)
    return seen


@pytest.fixture
def unstarted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever would start a run or a measurement fails."""

    def never(*arguments: Any, **options: Any) -> Any:
        raise AssertionError("started")

    monkeypatch.setattr("planner.estimation.session.find_torch", never)
    monkeypatch.setattr("planner.questions.estimate_cpu.estimate_on_cpu", never)
    monkeypatch.setattr("planner.estimation.job.this_host", never)


def run(*words: str) -> Result:
    return CliRunner().invoke(root, ["estimate", "model.py", *words, "-q"])


def test_what_was_not_said_is_not_passed(given: dict[str, Any]) -> None:
    run("--gpu", "t4")
    assert not set(NAMES) & set(given)


def test_every_word_reaches_the_library(given: dict[str, Any]) -> None:
    run(
        "--gpu", "t4", "--data", "tokens", "--measure-data", "--workers", "none",
        "--prefetch-factor", "4", "--no-pin-memory", "--cpu", "epyc-7742", "--host", "this",
        "--ram", "64GiB", "--price", "2.49 USD/h", "--dataset-size", "1.28M", "--pue", "1.2",
        "--prices", "sky", "--power-limit", "60",
    )  # fmt: skip
    assert {name: given[name] for name in NAMES} == {
        "data": "tokens", "measure_data": True, "workers": "none", "prefetch_factor": 4,
        "pin_memory": False, "cpu": "epyc-7742", "host": "this", "ram": "64GiB",
        "price": "2.49 USD/h", "prices": "sky", "dataset_size": "1.28M", "pue": 1.2,
        "power_limit": 60.0,
    }  # fmt: skip


@pytest.mark.usefixtures("unstarted")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--data", "cifar"], "imagenet-jpeg"),
        (["--data", "-4"], "cannot take"),
        (["--workers", "-1"], "--workers"),
        (["--workers", "0"], "say --workers none"),
        (["--workers", "many"], "neither a whole number nor"),
        (["--workers", "none", "--prefetch-factor", "2"], "leave prefetch_factor out"),
        (["--prefetch-factor", "0"], "--prefetch-factor"),
        (["--cpu", "epyc-7724"], "epyc-7742"),
        (["--host", "g5-xlarg"], "g5-xlarge"),
        (["--host", "this", "--cpu", "epyc-7742"], "leave cpu"),
        (["--host", "this", "--ram", "0"], "more than 0"),
        (["--price", "2.49"], "names no currency"),
        (["--dataset-size", "0"], "whole number of samples"),
        (["--pue", "0.5"], "from 1 to 10"),
        (["--pue", "low"], "--pue"),
        (["--power-limit", "many"], "--power-limit"),
        (["--power-limit", "71"], "t4 has 70 W as shipped"),
        (["--power-limit", "0"], "power limit 0 W"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_meant_starts_nothing(words: list[str], said: str) -> None:
    result = run("--gpu", "t4", *words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr


@pytest.mark.usefixtures("unstarted")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--data", "tokens"], "data is a matter of a card"),
        (["--measure-data"], "measure_data is a matter of a card"),
        (["--workers", "none", "--no-pin-memory"], "workers, pin_memory are matters of a card"),
        (["--price", "1 USD/h"], "price is a matter of a card"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_the_cpu_has_no_times(words: list[str], said: str) -> None:
    result = run("--device", "cpu", *words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr


def test_the_cards_of_a_host_are_those_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def budgets(names: list[str], **_: Any) -> Any:
        asked.extend(names)
        raise planner.PlannerError("enough")

    monkeypatch.setattr("planner.estimation.session.memory_budgets", budgets)
    monkeypatch.setattr("planner.memory.card_words._by_nvml", tuple)
    assert run("--host", "g5.xlarge").exit_code == 1
    assert run("--host", "g5.xlarge", "--gpu", "t4").exit_code == 1
    assert asked == ["a10g", "t4"]
    asked.clear()
    assert run("--cpu", "epyc-7742").exit_code == 1  # a host without cards
    assert asked == list(DEFAULT_CARDS)
