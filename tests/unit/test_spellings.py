"""The words of a caller in any spelling, and as enums: every check is made on what they mean."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import planner
from planner.config.step import BuildOn, DataDependent, Mode, OptimizerName, Precision, StepConfig
from planner.errors import UnknownGpuError, UsageError
from planner.questions import compare as comparing
from planner.questions import curve as curves
from planner.questions import estimate as estimating
from planner.questions import inspect as inspecting
from planner.questions import verify as verifying
from planner.results.comparison import RankBy

pytestmark = pytest.mark.usefixtures("model_file")


class _Started(Exception):  # noqa: N818 # no error: what was asked has passed all checks
    """The step that would have been run."""

    def __init__(self, config: StepConfig) -> None:
        super().__init__()
        self.config = config


def _started(asked: Any, *_: Any, config: StepConfig | None = None, **__: Any) -> Any:
    raise _Started(config or asked.config)


@pytest.fixture(autouse=True)
def nothing_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (estimating, curves, comparing):
        monkeypatch.setattr(module, "estimation_session", _started)
    monkeypatch.setattr(inspecting, "loaded_target", _started)
    monkeypatch.setattr(estimating, "_on_cpu", lambda asked, *_, **__: _started(asked))
    for name in ("on_emulated_card", "on_cpu"):
        monkeypatch.setattr(verifying, name, _started)


CALLS: dict[str, Callable[..., Any]] = {
    "estimate": lambda **options: planner.estimate("model.py", gpu="t4", **options),
    "estimate on the CPU": lambda **options: planner.estimate("model.py", device="CPU", **options),
    "curve": lambda **options: planner.curve("model.py", gpu="t4", **options),
    "compare": lambda **options: planner.compare("model.py", gpu=["t4", "a100"], **options),
    "verify": lambda **options: planner.verify("model.py", emulated="t4", **options),
    "verify on the CPU": lambda **options: planner.verify("model.py", device=" Cpu ", **options),
    "inspect": lambda **options: planner.inspect("model.py", gpu="T4", **options),
}
SPELLINGS: dict[str, tuple[Any, ...]] = {
    "mode": (Mode.INFER, "infer", "INFER", "Infer"),
    "precision": (Precision.AMP_BF16, "amp-bf16", "AMP_BF16", "Amp-bf16"),
    "optimizer": (OptimizerName.SGD_MOMENTUM, "sgd-momentum", "SGD_Momentum"),
    "build_on": (BuildOn.CPU, "cpu", "CPU"),
    "data_dependent": (DataDependent.MOST, "most", "MOST"),
}


def config_of(call: str, **options: Any) -> StepConfig:
    with pytest.raises(_Started) as started:
        CALLS[call](**options)
    return started.value.config


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("name", SPELLINGS)
def test_every_spelling_is_the_same_step(call: str, name: str) -> None:
    member, *words = SPELLINGS[name]
    meant = config_of(call, **{name: member})
    assert getattr(meant, name) is member
    assert all(config_of(call, **{name: word}) == meant for word in words)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("mode", SPELLINGS["mode"])
@pytest.mark.parametrize("beside", [{"clip_grad_norm": 1.0}, {"ema": True}], ids=str)
def test_what_inference_has_not_is_refused(call: str, mode: Any, beside: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="belongs to a training step"):
        CALLS[call](mode=mode, **beside)


@pytest.mark.parametrize("mode", SPELLINGS["mode"])
def test_inference_keeps_no_global_batch(mode: Any) -> None:
    with pytest.raises(UsageError, match="inference has none"):
        planner.curve("model.py", gpu="t4", mode=mode, global_batch=64)


@pytest.mark.parametrize("word", ["COST", "cost", RankBy.COST])
def test_what_cards_are_ranked_by(word: Any) -> None:
    with pytest.raises(_Started):
        planner.compare("model.py", by=word)
    with pytest.raises(UsageError, match="by 'money' is not one of time, cost, energy"):
        planner.compare("model.py", by="money")


def test_a_device_in_any_case() -> None:
    with pytest.raises(UsageError, match="not both"):
        planner.estimate("model.py", gpu="t4", device="CPU")
    with pytest.raises(UsageError, match="'cuda:one' is not one of"):
        planner.verify("model.py", device="CUDA:one")
    with pytest.raises(UsageError, match="memory is the limit of a run on the CPU"):
        planner.verify("model.py", device="CUDA", memory="1GiB")


@pytest.mark.parametrize(
    "call",
    [planner.estimate, planner.compare, planner.curve, planner.inspect],
    ids=lambda call: call.__name__,
)
@pytest.mark.parametrize("gpu", [7, ["t4", 7], {"t4": 1}], ids=str)
def test_a_card_that_is_no_text(call: Callable[..., Any], gpu: Any) -> None:
    with pytest.raises(UsageError, match=r"gpu must be|a curve is of one card"):
        call("model.py", gpu=gpu)


def test_an_emulated_card_that_is_no_text() -> None:
    with pytest.raises(UsageError, match="emulated must be one text"):
        planner.verify("model.py", emulated=["t4"])  # type: ignore[arg-type] # that is tested


@pytest.mark.parametrize("word", ["ALL", "All", "all"])
def test_all_cards_in_any_case(word: str) -> None:
    with pytest.raises(_Started):
        planner.estimate("model.py", gpu=word)
    with pytest.raises(UsageError, match="of one card"):
        planner.curve("model.py", gpu=word)
    with pytest.raises(UsageError, match="one card"):
        planner.inspect("model.py", gpu=word)
    with pytest.raises(UsageError, match="one card"):
        planner.verify("model.py", emulated=word)
    with pytest.raises((UsageError, UnknownGpuError)):
        planner.compare("model.py", gpu=[word, "t4"])
