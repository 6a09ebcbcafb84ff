"""The fit's formula on tensors is planner's own; the halves are what they say."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from hashlib import sha256

import pytest
import torch

from benchmarks.record.records import Step, step_of
from benchmarks.record.rows import half_of, held_out, read_cases
from benchmarks.throughput import judging
from benchmarks.throughput.counting import kept, ordered
from benchmarks.throughput.fitting import Parameters, fit, predicted_s, rows
from benchmarks.throughput.priors import expected_bandwidth, parts, relatives
from benchmarks.throughput.reading import HELD_OUT
from benchmarks.throughput.records import Case, Counted
from benchmarks.throughput.shipped import shipped_s, table
from benchmarks.throughput.sources import SOURCES
from planner.hardware.database import load_gpus
from planner.timing import roofline
from planner.timing.issue import issue_costs
from planner.timing.measured.kernel_time import TimeSource
from planner.wire.kernel_facts import ConvolutionFacts
from tests.unit.given_efficiencies import use_efficiencies
from tests.unit.operator_records import operator, product, relu, tensor


def case(name: str, measured_s: float = 0.01) -> Case:
    return Case(
        source="rtx3090-nchw", name=name, measured_s=measured_s,
        step=Step(model=name, card="rtx3090", batch_size=8, model_file="models.py"),
    )  # fmt: skip


OPERATORS = (relu(50_000_000, calls=3), product(2048, 2048, 2048), product(8, 4096, 4096))


def test_the_fit_predicts_what_planner_predicts(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = tensor(64, 16, 512, 512)
    operators = (*OPERATORS, operator("_softmax", (scores,), (scores,), calls=2))
    data = rows([Counted(case=case("one"), operators=operators)])
    keys = len(data.keys)
    found = Parameters(
        compute=torch.linspace(-0.6, -0.1, keys, dtype=torch.float64),
        bandwidth=torch.linspace(-0.3, -0.2, keys, dtype=torch.float64),
        tables=torch.linspace(-0.1, 0.1, keys, dtype=torch.float64),
        kernel_us=torch.tensor(math.log(4.0), dtype=torch.float64),
        gain=torch.tensor(math.log(0.8), dtype=torch.float64),
        reach=torch.tensor(math.log(0.5), dtype=torch.float64),
        convolution_us=torch.tensor(3.0, dtype=torch.float64),
        convolution_backward_us=torch.tensor(5.0, dtype=torch.float64),
    )
    (seconds,) = predicted_s(data, found).tolist()
    use_efficiencies(monkeypatch, found.efficiencies(data.keys))
    card = load_gpus(None).find("rtx3090").spec
    time = roofline.gpu_time(operators, card)
    assert {source for source, _ in time.sources_s} == {TimeSource.FIT, TimeSource.FALLBACK}
    assert seconds == pytest.approx(time.total_s, rel=1e-9)


def test_convolutions_take_the_cpu_more_on_a_slower_core() -> None:
    """On a DGX A100, a launch-bound case: a convolution of 20 us, its gradients of 100 us."""
    facts = ConvolutionFacts(
        stride=(1, 1), padding=(1, 1), dilation=(1, 1), groups=1, is_transposed=False
    )
    images, weight = tensor(1, 8, 4, 4), tensor(8, 8, 3, 3)
    forward = operator("convolution", (images, weight), (images,), calls=50)
    backward = operator(
        "convolution_backward", (images, images, weight), (images, weight), calls=50
    )
    operators = tuple(replace(one, convolution=facts) for one in (forward, backward))
    small = replace(
        case("a"), source="small-batches", step=replace(case("a").step, card="a100-sxm4-40gb")
    )
    data = rows([Counted(case=small, operators=(*OPERATORS, *operators))])
    found = fit(data, [0])
    costs = replace(found.issue_costs(), convolution_s=20e-6, convolution_backward_s=100e-6)
    exact = replace(
        found,
        convolution_us=torch.tensor(math.log(20.0)),
        convolution_backward_us=torch.tensor(math.log(100.0)),
    )
    (seconds,) = predicted_s(data, exact).tolist()
    of_others = sum(record.calls * costs.of(record) for record in OPERATORS)
    plain = replace(costs, convolution_s=0.0, convolution_backward_s=0.0)
    of_calls = sum(record.calls * plain.of(record) for record in operators)
    core = SOURCES["small-batches"].hosts["a100-sxm4-40gb"]
    assert core < 1
    expected_s = (of_others + of_calls + 50 * 20e-6 + 50 * 100e-6) / core
    assert seconds == pytest.approx(expected_s, rel=1e-6)


def test_a_kind_that_no_step_has_in_one_layout_is_like_its_other_layout() -> None:
    """Half of the bandwidth in one layout: the other is nearer to that than to what is expected."""
    key, other = "batch norm, half, forward", "batch norm, half, forward, channels_last"
    assert other in relatives([key])
    matrix = parts([key, other])
    shared = float((matrix[0] * matrix[1]).sum() / (matrix[0] ** 2).sum())
    assert 0.6 < shared < 1
    far = parts([key, "softmax, half, forward"])
    assert float((far[0] * far[1]).sum()) == 0
    assert expected_bandwidth([key]) == expected_bandwidth([other])


def test_a_fit_comes_closer_to_what_was_measured() -> None:
    counted = [
        Counted(case=case(f"case {size}", 3e-9 * size), operators=(relu(size, calls=20),))
        for size in (20_000_000, 40_000_000, 80_000_000)
    ]
    data = rows(counted)
    measured = [one.case.measured_s for one in counted]
    fitted = predicted_s(data, fit(data, range(3))).tolist()
    assert all(abs(f / m - 1) < 0.25 for f, m in zip(fitted, measured, strict=True))


def test_sisters_of_one_network_are_in_one_half() -> None:
    halves: dict[str, set[int]] = {}
    for name in ("rtx3090-nchw", "rtx3090-nhwc", "rtx4090-infer"):
        for one in read_cases(SOURCES[name]):
            unit = SOURCES[name].halved_by.of(one)
            halves.setdefault(one.step.model, set()).add(half_of(unit))
    assert all(len(found) == 1 for found in halves.values())
    assert {half for found in halves.values() for half in found} == {0, 1}


def test_statistics_by_hand() -> None:
    found = judging.statistics([(1.1, 1.0), (0.8, 1.0), (1.0, 1.0)])
    assert found is not None
    assert (found.number, found.worst) == (3, pytest.approx(-0.2))
    assert (found.median, found.bias) == (pytest.approx(0.1), pytest.approx(0.0))


@pytest.mark.parametrize("source", list(SOURCES))
def test_every_source_has_cases_of_cards_that_are_known(source: str) -> None:
    cases = read_cases(SOURCES[source])
    assert cases
    assert len({one.name for one in cases}) == len(cases)
    cards = load_gpus(None)
    for one in cases:
        cards.find(one.step.card)
        assert one.measured_s > 0
        assert step_of(json.loads(json.dumps(asdict(one.step)))) == one.step


def test_small_sources_and_a_part_of_the_large_ones_come_first() -> None:
    small = [replace(case(f"small {number}"), source="neusight") for number in range(3)]
    large = [case(f"large {number}") for number in range(400)]
    found = ordered([*large, *small])
    assert sorted(one.name for one in found[:3]) == [one.name for one in small]
    assert len(found) == 403
    early = [one for one in found[3:] if int(sha256(one.name.encode()).hexdigest(), 16) % 10 == 0]
    assert found[3 : 3 + len(early)] == early


def test_counts_are_kept_by_all_that_they_depend_on() -> None:
    one = case("a")
    larger = replace(one, step=replace(one.step, batch_size=9))
    assert kept(one, "torch 2") == kept(case("a", measured_s=5.0), "torch 2")
    assert kept(one, "torch 2") != kept(one, "torch 3")
    assert kept(one, "torch 2") != kept(larger, "torch 2")


def test_nothing_is_fitted_on_what_is_held_out() -> None:
    """A held-out time may be anything: the constants are the same."""

    def judged(held_out_s: float) -> judging.Judged:
        counted = [
            Counted(case=case(f"case {size}", seconds), operators=(relu(size, calls=20),))
            for size, seconds in ((20_000_000, 0.06), (40_000_000, 0.12), (80_000_000, held_out_s))
        ]
        return judging.judge(rows(counted), counted, {"case 80000000"})

    one, other = judged(0.24), judged(24.0)
    assert one.shipped == other.shipped
    assert set(one.by_halves) <= {0, 1}


def test_what_is_held_out_is_published_and_not_all() -> None:
    names = {one.name for source in SOURCES.values() for one in read_cases(source)}
    apart = held_out(HELD_OUT)
    assert apart < names
    assert len(apart) > 500


def test_resnet50_is_judged_by_other_networks_too() -> None:
    """Its source is left out whole, so none of the others may have its network on those cards."""
    others = {one.step.model for one in read_cases(SOURCES["nvidia-convnets"])}
    source = SOURCES["nvidia-resnet50"]
    assert others.isdisjoint({one.step.model for one in read_cases(source)})
    assert source.left_out == "other networks"


def test_planner_as_it_is_can_be_judged_without_a_fit() -> None:
    """Half of the measured time is an error of 50 %; what was not counted is left out."""
    one = Counted(case=case("a"), operators=OPERATORS)
    busy_s = roofline.gpu_time(OPERATORS, load_gpus().find("rtx3090").spec).total_s
    assert shipped_s(one) == busy_s
    twice = Counted(case=case("b", measured_s=2 * busy_s), operators=OPERATORS)
    lines = list(table([twice, Counted(case=case("c"), trouble="no such model")]))
    assert lines[2:] == [
        "| rtx3090-nchw | all | 1 | 50.00% | 50.0% | -50.00% |",
        "| rtx3090-nchw | rtx3090 | 1 | 50.00% | 50.0% | -50.00% |",
    ]


def test_many_small_operators_wait_for_the_cpu() -> None:
    record = relu(64, calls=1000)
    one = Counted(case=case("a"), operators=(record,))
    assert shipped_s(one) == pytest.approx(1000 * issue_costs().of(record))
