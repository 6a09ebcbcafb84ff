"""The search by replay and runs, against programs of which the truth is known at every batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from planner.memory.allocator.options import parse_alloc_conf
from planner.memory.allocator.replay import Request, replay
from planner.memory.forecast import Forecast, below
from planner.memory.largest import (
    LargestValue,
    Method,
    ProbeFns,
    ReplayTarget,
    SearchStart,
    forecasts,
    largest,
)
from planner.memory.probe import Probe, ProbeOutcome
from planner.memory.scaling import Sample, ScaledRequests, fit
from planner.memory.search import BOUND
from planner.units import GIB, KIB, MIB
from planner.wire.trace import EventKind

ALLOC, FREE = EventKind.ALLOC, EventKind.FREE
SETTINGS = parse_alloc_conf("", "2.15.0")
Program = Callable[[int], list[Request]]


def card(capacity_bytes: int = 8 * GIB) -> ReplayTarget:
    return ReplayTarget(
        capacity_bytes=capacity_bytes, total_memory_bytes=capacity_bytes, settings=SETTINGS
    )


def net(batch: int, scratch_bytes: Callable[[int], int] = lambda batch: 0) -> list[Request]:
    """Weights, four saved activations, scratch in each layer, gradients; two steps."""
    found = [Request(ALLOC, n, 30 * MIB) for n in range(4)]
    number = 4
    for _ in range(2):
        saved = []
        for layer in range(4):
            found.append(Request(ALLOC, number, 100 + (layer + 1) * 300 * KIB * batch))
            saved.append(number)
            if scratch_bytes(batch):
                found.append(Request(ALLOC, number + 1, scratch_bytes(batch)))
                found.append(Request(FREE, number + 1))
            number += 2
        gradients = []
        for block in reversed(saved):
            found.append(Request(ALLOC, number, 30 * MIB))
            gradients.append(number)
            found.append(Request(FREE, block))
            number += 1
        found += [Request(FREE, block) for block in gradients]
    return found


class Bench:
    """Runs a program; counts the runs."""

    def __init__(
        self,
        program: Program,
        on: ReplayTarget,
        fails: Callable[[int], bool] | None = None,
        drops_beside: bool = False,
    ):
        self.program, self.card = program, on
        self.drops_beside = drops_beside
        self.beside: list[int] = []
        self.fails = fails or (lambda value: False)
        self.sampled: list[int] = []
        self.probed: list[int] = []

    def fits(self, value: int) -> bool:
        done = replay(self.program(value), SETTINGS, capacity_bytes=self.card.capacity_bytes)
        return done.out_of_memory is None

    def tries(self) -> ProbeFns:
        return ProbeFns(
            samples=self._samples,
            probes=self._probes,
            probes_and_sample=self._probes_and_sample,
        )

    def _probes_and_sample(
        self, values: Sequence[int], at: int
    ) -> tuple[list[Probe], Sample | None]:
        self.beside.append(at)
        if self.drops_beside:
            return self._probes(values), None
        return self._probes(values), self._samples([at])[0]

    def sample(self, value: int) -> Sample:
        return Sample(value=value, requests=tuple(self.program(value)))

    def search(self, values: tuple[int, ...] = (8, 100), **options: object) -> LargestValue:
        beginning = SearchStart(
            values=values,
            sample=self.sample(values[0]),
            known=(),
            start=values[0],
            **options,  # type: ignore[arg-type] # of the tests below
        )
        return largest(self.tries(), self.card, beginning)

    def _samples(self, values: Sequence[int]) -> list[Sample | None]:
        self.sampled += values
        return [None if self.fails(value) else self.sample(value) for value in values]

    def _probes(self, values: Sequence[int]) -> list[Probe]:
        self.probed += values
        return [self._probe(value) for value in values]

    def _probe(self, value: int) -> Probe:
        if self.fails(value):
            return Probe(value=value, outcome=ProbeOutcome.MODEL_ERROR, detail="ValueError: no")
        outcome = ProbeOutcome.FITS if self.fits(value) else ProbeOutcome.OOM
        return Probe(value=value, outcome=outcome, total_bytes=value)


def truth(bench: Bench, below: int) -> int:
    return max((n for n in range(1, below) if bench.fits(n)), default=0)


@pytest.mark.parametrize("capacity_bytes", [300 * MIB, GIB, 3 * GIB, 8 * GIB])
def test_two_samples_and_two_runs(capacity_bytes: int) -> None:
    bench = Bench(net, card(capacity_bytes))
    found = bench.search()
    assert found.capacity.largest == truth(bench, 4000)
    assert (found.method, found.is_confirmed) == (Method.REPLAY, True)
    assert bench.sampled == [100]
    assert bench.probed == [found.capacity.largest, found.capacity.largest + 1]


def test_scratch_that_jumps_is_sampled_again_near_the_answer() -> None:
    def program(batch: int) -> list[Request]:
        return net(batch, lambda n: 700 * MIB if n > 1500 else 3 * MIB)

    bench = Bench(program, card())
    found = bench.search()
    assert found.capacity.largest == truth(bench, 4000) > 1500
    assert found.method is Method.REPLAY
    assert len(bench.sampled) + len(bench.probed) <= 8  # one of them the neighbour below


def test_a_gap_below_the_answer_that_no_replay_shows_is_found_by_a_run() -> None:
    """At every fourth batch a library needs less scratch: 2,745 fits, 2,744 does not."""

    def program(batch: int) -> list[Request]:
        return net(batch, lambda n: 3 * MIB if n % 4 == 1 else 1500 * MIB)

    bench = Bench(program, card())
    found = bench.search(values=(9, 101))
    answer = found.capacity.largest
    assert bench.fits(answer)
    assert bench.fits(answer - 1)
    assert not bench.fits(answer + 1)
    assert answer == min(n for n in range(1, 4000) if not bench.fits(n)) - 1


def _with_scratch_of_no_rule(batch: int) -> list[Request]:
    return net(batch, lambda n: (100 + n * 37 % 50) * MIB)


def test_the_next_sample_is_run_beside_probes_that_are_doubtful_and_only_once() -> None:
    bench = Bench(_with_scratch_of_no_rule, card())
    bench.search()
    assert len(bench.beside) == 1
    assert bench.beside[0] in bench.probed
    assert bench.sampled == list(dict.fromkeys(bench.sampled))
    plain = Bench(net, card())
    plain.search()
    assert plain.beside == []  # its scratch follows a rule


def test_a_sample_beside_probes_that_fails_is_no_reason_to_give_up() -> None:
    """Only a sample that a rule asks for may end the search by replay."""
    bench = Bench(_with_scratch_of_no_rule, card(), drops_beside=True)
    found = bench.search()
    assert bench.beside
    assert found == Bench(_with_scratch_of_no_rule, card()).search()


def test_what_lies_near_below_an_answer_is_all_looked_at() -> None:
    assert below(10) == (9, 8, 7, 6)
    assert below(640)[:10] == tuple(range(639, 629, -1))
    assert set(below(640)[10:]) == {640 - 20 * n // 8 for n in range(1, 9)} - set(range(630, 640))
    assert len(below(1 << 24)) <= 64 + 8


def test_requests_that_differ_far_away_are_learnt_where_the_answer_is() -> None:
    """From 50 on a kernel keeps a buffer through backward: no scratch, another sequence."""

    def program(batch: int) -> list[Request]:
        plain = net(batch)
        if batch < 50:
            return plain
        return [Request(ALLOC, 1000, 64 * KIB * batch), *plain, Request(FREE, 1000)]

    bench = Bench(program, card())
    found = bench.search()
    assert found.capacity.largest == truth(bench, 4000) > 50
    assert found.method is Method.REPLAY
    assert len(bench.probed) == 2


def test_requests_that_are_never_alike_are_searched_by_runs() -> None:
    def program(batch: int) -> list[Request]:
        return [*net(batch), *(Request(ALLOC, 1000 + n, 1) for n in range(batch))]

    bench = Bench(program, card(GIB))
    found = bench.search()
    assert found.capacity.largest == truth(bench, 1000)
    assert found.method is Method.RUNS
    assert found.scaled is None
    assert "the requests of the step are not alike" in found.reason


def test_a_forecast_that_runs_contradict_is_mended_and_told() -> None:
    """Padding to 64: the samples lie on a line that other batches do not."""

    def program(batch: int) -> list[Request]:
        return net(-(-batch // 64) * 64)

    bench = Bench(program, card())
    found = bench.search(values=(64, 640))
    assert found.capacity.largest == truth(bench, 4000)
    assert found.capacity.largest % 64 == 0
    assert found.is_confirmed
    assert (found.method is Method.RUNS) == ("had given" in found.reason)


def test_a_batch_that_fails_for_another_reason_ends_the_forecast() -> None:
    bench = Bench(net, card(), fails=lambda value: value > 77)
    found = bench.search()
    assert found.capacity.largest == 77
    assert found.capacity.error is not None
    assert found.method is Method.RUNS
    assert "for another reason than memory" in found.reason


def test_trouble_known_before_is_the_reason() -> None:
    bench = Bench(net, card(GIB))
    found = bench.search(trouble="the run could not be recorded")
    assert found.reason == "the run could not be recorded"
    assert found.capacity.largest == truth(bench, 1000)
    assert bench.sampled == []


def test_nothing_fits() -> None:
    bench = Bench(net, card(100 * MIB))
    found = bench.search()
    assert found.capacity.largest == 0
    assert found.is_confirmed
    assert bench.probed == [1]


def test_nothing_depends_on_the_batch() -> None:
    bench = Bench(lambda batch: net(8), card())
    found = bench.search()
    assert found.has_no_limit
    assert found.capacity.largest == BOUND
    assert bench.probed == []


def test_memory_that_grows_with_no_batch_below_the_bound_is_run_at_the_bound() -> None:
    bench = Bench(lambda batch: [Request(ALLOC, 0, 16 * batch)], card())
    found = bench.search()
    assert found.capacity.is_bound
    assert not found.has_no_limit
    assert bench.probed == [BOUND]
    assert not found.is_confirmed, "no next one was run"


def test_by_runs_nothing_is_confirmed_at_the_bound() -> None:
    def program(batch: int) -> list[Request]:
        return [Request(ALLOC, 0, 16 * batch)]

    found = Bench(program, card()).search(trouble="its requests are not known")
    assert (found.method, found.capacity.largest) == (Method.RUNS, BOUND)
    assert not found.is_confirmed
    assert Bench(program, card(100 * MIB)).search(trouble="its requests are not known").is_confirmed


def test_many_cards_share_their_samples() -> None:
    bench = Bench(net, card())
    capacities = [GIB, 8 * GIB, 100 * MIB, 3 * GIB]
    beginning = SearchStart(values=(8, 32), sample=bench.sample(8), known=(), start=8)
    found = forecasts(bench.tries(), [card(one) for one in capacities], beginning)
    assert found is not None
    for one, capacity_bytes in zip(found, capacities, strict=True):
        assert one.capacity.largest == truth(Bench(net, card(capacity_bytes)), 4000)
        assert not one.is_confirmed
    assert bench.sampled == [32]
    assert bench.probed == []


def test_many_cards_without_a_rule() -> None:
    def program(batch: int) -> list[Request]:
        return [Request(ALLOC, n, 1) for n in range(batch)]

    bench = Bench(program, card())
    beginning = SearchStart(values=(8, 32), sample=None, known=(), start=8)
    assert forecasts(bench.tries(), [card()], beginning) is None


def test_a_workspace_that_cannot_be_served_is_done_without() -> None:
    """cuDNN takes another engine; a buffer of the model's own would end the program."""

    def program(batch: int) -> list[Request]:
        return net(batch, lambda n: 2 * GIB)

    def on_card(workspaces: Sequence[int]) -> bool:
        samples = [
            Sample(value=n, requests=tuple(program(n)), workspaces=frozenset(workspaces))
            for n in (8, 9)
        ]
        scaled = fit(samples)
        assert isinstance(scaled, ScaledRequests)
        found = Forecast(scaled, SETTINGS).on_card(
            400, capacity_bytes=3 * GIB, total_memory_bytes=3 * GIB
        )
        return found.out_of_memory is None

    assert not Bench(program, card(3 * GIB)).fits(400)
    assert Bench(net, card(3 * GIB)).fits(400)
    assert not on_card([])
    in_the_first_step, in_the_second = range(5, 12, 2), range(17, 24, 2)
    assert not on_card(in_the_first_step)
    assert on_card([*in_the_first_step, *in_the_second])
