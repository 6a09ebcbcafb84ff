"""Which spreads are run: the promising ones, and none that holds more than one without room."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from planner.config.parallel import DataParallel
from planner.errors import ModelError
from planner.estimation.advice.trials import Tried
from planner.estimation.job import job_config
from planner.estimation.spread import search
from planner.estimation.spread.candidates import Candidate, Field
from planner.estimation.spread.facts import StepFacts
from planner.estimation.spread.micro_batches import MicroBatches
from planner.estimation.spread.runs import RunSpread
from planner.estimation.spread.search import Searched, Wanted, searched
from planner.estimation.spread.spreads import Spread, spreads
from planner.memory.budget import MemoryBudget, memory_budgets
from planner.results.advice import TrialState
from planner.results.parallelization import SpreadMethod, SpreadState, SpreadTrial
from planner.units import MIB
from tests.unit.estimation.spread.test_spread_arithmetic import facts

LEVELS: dict[str, dict[str, Any]] = {"none": {}, "all": {"checkpoint_activations": True}}
SAMPLE_BYTES = {"none": 4 * MIB, "all": MIB}
Seconds = Callable[[Candidate], float]


@dataclass
class Bench:
    """Stands for runs: the seconds to expect and those of a run, and the bytes of a card."""

    seconds: Seconds
    room_mib: int
    asked: list[str] = field(default_factory=list)
    fails: tuple[str, ...] = ()

    def facts_of(self, _: object, rows: Sequence[object], level: str, options: Any) -> StepFacts:
        """Returns what lasts, 80 MiB, and the bytes of a sample at this level."""
        if level in self.fails:
            raise ModelError(f"no blocks at {level}")
        known = facts(sample_bytes=SAMPLE_BYTES[level])
        return replace(known, checkpoint=level, options=options)

    def candidate_of(self, spread: Spread, known: StepFacts, field: Field) -> Candidate:
        """Returns a candidate with the seconds to expect; one sample is its micro-batch."""
        size = 80 // spread.state_ranks + known.sample_bytes / MIB
        one = Candidate(
            spread=spread, facts=known, share=1, micro=MicroBatches(batch_size=1, accumulate=1),
            may_fit=size <= self.room_mib, expected_bytes=int(size * MIB), sample_s=None,
        )  # fmt: skip
        return replace(one, sample_s=self.seconds(one))

    def run_spread(self, _: object, one: Candidate, price: object) -> RunSpread:
        """Runs a candidate: it takes 2 MiB more than arithmetic expects."""
        self.asked.append(one.trial(SpreadState.FITS).words.partition(", micro")[0])
        total = one.expected_bytes + 2 * MIB
        fits = total <= self.room_mib * MIB
        state = SpreadState.FITS if fits else SpreadState.TOO_LARGE
        trial = replace(
            one.trial(state), method=SpreadMethod.RUN, device_total_bytes=total,
            samples_per_s=1 / self.seconds(one),
        )  # fmt: skip
        tried = Timed(changes={}, state=TrialState.TRIED, step_s=self.seconds(one))
        return RunSpread(candidate=one, trial=trial, tried=tried, changes={})

    def too_large_run(self, _: object, one: Candidate) -> RunSpread | None:
        """Runs a candidate; returns it if it does not fit."""
        found = self.run_spread(_, one, None)
        return None if found.fits else found


class Timed(Tried):
    """A step whose time is that of a sample."""

    @property
    def sample_s(self) -> float | None:
        """Returns the time of the step."""
        return self.step_s


@pytest.fixture
def budget() -> MemoryBudget:
    (found,) = memory_budgets(["a100"], hardware_db=None, gpu_memory=None, reserve=0)
    return found


def search_on(
    bench: Bench,
    budget: MemoryBudget,
    monkeypatch: pytest.MonkeyPatch,
    given: Sequence[Spread] = spreads(8, 1),
    capacity_mib: int = 70,
    *,
    quick: bool = False,
) -> Searched:
    usable_bytes = capacity_mib * MIB + budget.context_overhead_bytes
    card = replace(budget, usable_memory_bytes=usable_bytes)
    for name in ("facts_of", "candidate_of", "run_spread", "too_large_run"):
        monkeypatch.setattr(search, name, getattr(bench, name))
    monkeypatch.setattr(search, "with_counts", lambda _, known: known)

    class Trials:
        budget = card

    return searched(
        Trials(),  # type: ignore[arg-type] # what is asked of it is replaced
        Field(budget=card, job=job_config(), network=lambda _: None, global_batch=8),  # type: ignore[arg-type,return-value]
        Wanted(spreads=given, levels=LEVELS, price=None, by_gpus=False, quick=quick),
        (),
        lambda _: None,
        lambda _: None,
    )


def fsdp_is_best(one: Candidate) -> float:
    """Without checkpointing 1 s, with it 1.3; whole parameters 1 % faster, DDP 2 % slower."""
    level = 1.3 if one.facts.checkpoint == "all" else 1.0
    keeps = 0.99 if one.spread.keeps_gathered else 1.0
    return level * keeps * (1.02 if one.spread.data is not DataParallel.FSDP else 1.0)


def state_of(found: Searched, words: str) -> SpreadTrial:
    every = [*(run.trial for run in found.runs), *found.others]
    return next(one for one in every if one.words.startswith(words))


def test_what_lasts_alone_is_too_large_without_a_run(
    budget: MemoryBudget, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = search_on(Bench(fsdp_is_best, 70), budget, monkeypatch)
    ddp = state_of(found, "ddp=8")
    assert (ddp.state, ddp.method) == (SpreadState.TOO_LARGE, SpreadMethod.ARITHMETIC)
    assert ddp.over_bytes == 30 * MIB  # 100 of 70
    assert ddp.checkpoint == "any"


def test_slower_ones_are_not_run_and_the_least_memory_wins_a_tie(
    budget: MemoryBudget, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(fsdp_is_best, 70)
    found = search_on(bench, budget, monkeypatch)
    assert not [words for words in bench.asked if "checkpointing" in words]
    assert len(bench.asked) <= 6
    best, runner_up, *_ = found.best(by_gpus=False)
    assert {best.trial.parallel, runner_up.trial.parallel} == {"fsdp=8"}
    slow = state_of(found, "fsdp=8, checkpointing all")
    assert slow.state is SpreadState.SLOWER
    assert "x 1.3" in slow.reason


def test_a_plan_that_is_clearly_faster_wins_whatever_its_memory(
    budget: MemoryBudget, monkeypatch: pytest.MonkeyPatch
) -> None:
    def seconds(one: Candidate) -> float:
        return 0.9 if one.spread.keeps_gathered else fsdp_is_best(one)

    found = search_on(Bench(seconds, 70), budget, monkeypatch)
    assert found.best(by_gpus=False)[0].trial.arguments == ("reshard_after_forward=false",)


def test_nothing_is_run_that_holds_more_than_what_does_not_fit(
    budget: MemoryBudget, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With 11 MiB: fsdp=8 and one sample take 10 + 1 + 2, and all others as much or more."""
    bench = Bench(fsdp_is_best, 11)
    found = search_on(bench, budget, monkeypatch, spreads(8, 1)[:4], capacity_mib=11)
    assert bench.asked == ["fsdp=8, reshard_after_forward=false, checkpointing all",
                           "fsdp=8, checkpointing all"]  # fmt: skip
    assert not found.best(by_gpus=False)
    assert "zero1" not in " ".join(bench.asked)
    none = state_of(found, "fsdp=8, micro")
    assert none.state is SpreadState.TOO_LARGE
    assert "holds more than fsdp=8" in none.reason


def test_divided_layers_must_promise_more(
    budget: MemoryBudget, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(lambda one: 0.5 if one.divides_layers else 1.0, 70)
    search_on(bench, budget, monkeypatch)
    assert len([words for words in bench.asked if "tp" in words or "cp" in words]) == 1
    bench = Bench(lambda one: 0.97 if one.divides_layers else 1.0, 70)
    found = search_on(bench, budget, monkeypatch)
    assert not [words for words in bench.asked if "tp" in words or "cp" in words]
    assert "they come on top" in state_of(found, "fsdp=4,tp=2").reason


def test_a_quick_search_runs_only_what_fits_by_arithmetic(
    budget: MemoryBudget, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With 11 MiB nothing fits: fsdp=8 and one sample take 10 + 1 + 2; tp=8 would be run else."""
    bench = Bench(fsdp_is_best, 11)
    found = search_on(bench, budget, monkeypatch, capacity_mib=11, quick=True)
    assert bench.asked == ["fsdp=8, checkpointing all"]
    assert [run.trial.state for run in found.runs] == [SpreadState.TOO_LARGE]
    assert "holds more than fsdp=8" in state_of(found, "fsdp=8, reshard").reason
    assert "were tried first" in state_of(found, "fsdp=4,tp=2").reason
    # With room, what divides layers is left for later.
    bench = Bench(lambda one: 0.5 if one.divides_layers else 1.0, 70)
    search_on(bench, budget, monkeypatch, quick=True)
    assert bench.asked
    assert not [words for words in bench.asked if "tp" in words or "cp" in words]


def test_a_level_that_the_model_does_not_have_is_named(
    budget: MemoryBudget, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = search_on(Bench(fsdp_is_best, 70, fails=("all",)), budget, monkeypatch)
    assert any(one.reason == "no blocks at all" for one in found.others)
    assert found.best(by_gpus=False)


def test_a_step_that_does_not_run_at_all_is_an_error(
    budget: MemoryBudget, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ModelError, match="no blocks at none"):
        search_on(Bench(fsdp_is_best, 70, fails=("all", "none")), budget, monkeypatch)


def test_samples_that_cannot_be_dealt_out_are_named(
    budget: MemoryBudget, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = spreads(6, 1)
    found = search_on(Bench(fsdp_is_best, 70), budget, monkeypatch, given)
    assert state_of(found, "ddp=6").reason == (
        "8 samples of a step cannot be dealt out equally to 6 ranks"
    )
