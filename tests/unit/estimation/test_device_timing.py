"""Step time, host and cost of counted steps made by hand, on a card of given rates."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from math import exp, log, sqrt
from pathlib import Path
from typing import Any

import pytest

from planner.config.parse import step_config
from planner.config.step import Mode, Precision, StepConfig
from planner.config.weights import WeightDtype
from planner.estimation import device_timing as speed
from planner.estimation import time_interval
from planner.estimation import timed_step as card_step
from planner.estimation.data_source import item_of_batch
from planner.estimation.device_memory import DeviceMemory
from planner.estimation.device_timing import DeviceTiming, device_timings
from planner.estimation.host_needs import checkpoint_bytes
from planner.estimation.job import JobConfig, job_config
from planner.estimation.network import network_of
from planner.estimation.timed_step import TimedStep
from planner.hardware.database import load_gpus
from planner.hardware.link_specs import Collective
from planner.input_pipeline import rates as input_pipeline
from planner.input_pipeline.host_budget import HostBudget
from planner.input_pipeline.host_ram import Room
from planner.memory.budget import Calibration, CardKernels, calibrated, memory_budgets
from planner.memory.largest import LargestValue, Method
from planner.memory.search import Capacity
from planner.timing import issue, kernel_roofs
from planner.timing.bottleneck import Bound
from planner.timing.efficiency import Efficiencies
from planner.timing.issue import IssueCosts
from planner.timing.measured.kernel_time import TimeSource
from planner.timing.power_limit import clock_under_limit, limit_spread
from planner.timing.rates import memory_rate
from planner.timing.spread import (
    Measured,
    Scales,
    Spreads,
    StepPrecision,
    TimeSpread,
    Unknown,
    architecture,
)
from planner.units import GIB, MIB
from planner.wire.communication import CollectiveRecord
from planner.wire.module_counts import FlopRules, ModelCounts, StepCounts, Structure
from planner.wire.trace import Counts, OperatorRecord, Phase, RunOutcome, StepTrace
from tests.unit.given_efficiencies import use_efficiencies
from tests.unit.operator_records import operator, product, relu, tensor


@pytest.fixture(autouse=True)
def alike_in_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Items cost in a worker what they cost elsewhere, for arithmetic by hand."""
    monkeypatch.setattr(input_pipeline, "_IN_WORKER", 1.0)


LAUNCH_S = 1e-5
COSTS = IssueCosts(
    forward_s=LAUNCH_S, forward_view_s=0.0, backward_s=LAUNCH_S, backward_view_s=0.0,
    optimizer_s=LAUNCH_S, tensor_s=0.0, compiled_s=0.0, launch_s=0.0,
)  # fmt: skip
FREE_SPREAD = time_interval._free_spread
FULL = Efficiencies(
    compute={}, bandwidth={}, kernel_s=0.0, cache_gain=0.0, cache_reach=1.0,
    default_compute=1.0, default_bandwidth=1.0,
)  # fmt: skip
T4 = load_gpus().find("t4").spec
RELU_S = 800e6 / memory_rate(T4)  # of a hundred million elements, about 3 ms
HOST = HostBudget(
    requested="host", cores=4.0, threads=4, core_speed=1.0, ram_bytes=64 * GIB, shm_bytes=None,
    storage_bytes_per_s=None, pcie_generation=3, pcie_lanes=16,
)  # fmt: skip
BANDWIDTH_BOUND = (relu(100_000_000, calls=2), relu(100_000_000, phase=Phase.OPTIMIZER_STEP))
LAUNCH_BOUND = (relu(1000, calls=1000),)
COMPUTE_BOUND = (product(4096, 4096, 4096, dtype="float32"),)


@pytest.fixture(autouse=True)
def full(monkeypatch: pytest.MonkeyPatch) -> None:
    """Full rates, and elements that cost their bytes alone."""
    use(monkeypatch, FULL)
    use_spread(monkeypatch, None)
    monkeypatch.setattr(kernel_roofs, "_INSTRUCTIONS_PER_ELEMENT", 0)
    monkeypatch.setattr(card_step, "issue_costs", lambda: COSTS)
    monkeypatch.setattr(issue, "issue_costs", lambda: COSTS)


def use(monkeypatch: pytest.MonkeyPatch, found: Efficiencies) -> None:
    use_efficiencies(monkeypatch, found)


def use_spread(monkeypatch: pytest.MonkeyPatch, found: TimeSpread | None) -> None:
    """The errors of every computed time; None: they are not known."""
    monkeypatch.setattr(time_interval, "_free_spread", lambda step, parts: found)


def counts(operators: tuple[OperatorRecord, ...], **changes: Any) -> ModelCounts:
    given: dict[str, Any] = {
        "counts": Counts(parameters=10, trainable_parameters=10, buffers=0),
        "step": StepCounts(
            forward_flops_per_sample=0, step_flops=0, activations_per_sample=None
        ),
        "modules": (), "structure": Structure.WHOLE_MODEL, "flop_rules": FlopRules.TORCH,
        "forward_flops_by_torch": 0, "build_on": "meta", "operators": operators,
        "batch_tensors_bytes": (8 * MIB,), "resident_bytes": 512 * MIB, **changes,
    }  # fmt: skip
    return ModelCounts(**given)


def step(
    operators: tuple[OperatorRecord, ...],
    request: JobConfig | None = None,
    *,
    time_ratio: float = 1.0,
    **config: Any,
) -> TimedStep:
    asked = request or job_config()
    counted = counts(operators)
    settings = StepConfig(batch_size=8, **config)
    return TimedStep(
        card=T4,
        config=settings,
        counted=counted,
        request=asked,
        item=item_of_batch(asked.item, counted.batch_tensors_bytes, settings.batch_size),
        time_ratio=time_ratio,
    )


def fed(data: str, *, workers: int | str = 1, **host: Any) -> JobConfig:
    """On four cores of the reference speed, with a pinned batch of 8 MiB."""
    budget = replace(HOST, **host)
    return replace(job_config(data=data, workers=workers), host=budget, ram_bytes=budget.ram_bytes)


def gains_of(found: DeviceTiming) -> dict[str, float]:
    return {gain.change: gain.factor for gain in found.time.gains}


def test_a_step_takes_what_its_kernels_take() -> None:
    found = speed.speed(step(BANDWIDTH_BOUND))
    time = found.time
    assert time.step_s == pytest.approx(3 * RELU_S)
    assert time.samples_per_s == pytest.approx(8 / (3 * RELU_S))
    assert dict(time.phases_s) == {
        Phase.FORWARD: pytest.approx(2 * RELU_S), Phase.OPTIMIZER_STEP: pytest.approx(RELU_S)
    }  # fmt: skip
    assert time.launch_s == pytest.approx(3 * LAUNCH_S)
    assert time.bottleneck.bound is Bound.BANDWIDTH
    assert (time.loader_s, time.copy_s, time.interval_s) == (None, None, None)
    assert found.cost.samples_per_s == time.samples_per_s
    assert found.assumptions == (
        "times of kernels: 100 % by similar kernels, because no published step has these",
    )


def test_accumulated_micro_batches_share_one_optimizer_step() -> None:
    time = speed.speed(step(BANDWIDTH_BOUND, accumulate=4)).time
    assert time.step_s == pytest.approx(9 * RELU_S)
    assert time.samples_per_s == pytest.approx(32 / (9 * RELU_S))
    assert dict(time.phases_s)[Phase.FORWARD] == pytest.approx(8 * RELU_S)
    assert time.launch_s == pytest.approx(9 * LAUNCH_S)


def test_inference_has_no_optimizer() -> None:
    time = speed.speed(step(BANDWIDTH_BOUND[:1], mode=Mode.INFER)).time
    assert dict(time.phases_s) == {Phase.FORWARD: pytest.approx(2 * RELU_S)}
    assert time.step_s == pytest.approx(2 * RELU_S)


def test_many_small_kernels_wait_for_the_cpu() -> None:
    found = speed.speed(step(LAUNCH_BOUND), largest_batch=4096).time
    assert found.step_s == pytest.approx(1000 * LAUNCH_S)
    assert found.bottleneck.bound is Bound.LAUNCHES
    (gain,) = found.gains
    assert gain.change.startswith("--batch ")
    size = int(gain.change.removeprefix("--batch "))
    # The step is as long as before while the work grows up to what the CPU takes.
    assert gain.factor == pytest.approx(size / 8, rel=0.01)


def test_a_slower_core_asks_for_kernels_more_slowly() -> None:
    slow = replace(job_config(), host=replace(HOST, core_speed=0.5))
    assert speed.speed(step(LAUNCH_BOUND, slow)).time.step_s == pytest.approx(2000 * LAUNCH_S)


@pytest.mark.parametrize(
    ("largest", "expected"),
    [
        pytest.param(16, {"--batch 16": 2.0}, id="as large as fits"),
        pytest.param(8, {}, id="no larger one fits"),
        pytest.param(0, {}, id="none fits"),
    ],
)
def test_a_larger_batch_ends_where_memory_ends(largest: int, expected: dict[str, float]) -> None:
    found = gains_of(speed.speed(step(LAUNCH_BOUND), largest_batch=largest))
    assert found == {text: pytest.approx(factor) for text, factor in expected.items()}


def test_a_larger_batch_that_nobody_tried_may_not_fit() -> None:
    (text,) = gains_of(speed.speed(step(LAUNCH_BOUND)))
    assert text.endswith(", if it fits")


def test_a_loader_that_is_too_slow_holds_the_step_up() -> None:
    """8 items of 10 ms with one worker; the collation and the sending come on top."""
    found = speed.speed(step(BANDWIDTH_BOUND, fed("10")))
    assert found.time.bottleneck.bound is Bound.DATA
    assert found.time.loader_s is not None
    assert found.time.loader_s == pytest.approx(0.080 + 8 * MIB / 1.4e9 + 0.66e-3)
    assert found.time.step_s == found.time.loader_s
    assert found.host.cores_needed is not None
    assert found.host.cores_needed > 4
    assert (found.host.cores, found.host.data) == (4.0, "10 ms")


def test_more_workers_help_as_far_as_there_are_cores() -> None:
    gains = gains_of(speed.speed(step(BANDWIDTH_BOUND, fed("10"))))
    assert 2.5 < gains["--workers 4"] < 4
    (host,) = (text for text in gains if text.startswith("a host with"))
    assert gains[host] > gains["--workers 4"]


def test_data_of_another_size_than_the_batch_are_pointed_at() -> None:
    """The batch has 1 MiB a sample: as a picture may have, and tokens of 16 KiB have not."""
    said = {
        data: [
            text
            for text in speed.speed(step(BANDWIDTH_BOUND, fed(data))).assumptions
            if "look" in text
        ]
        for data in ("tokens", "imagenet-jpeg", "tensor", "10")
    }
    assert said.pop("tokens") == [
        "data: an item of tokens has 16.0 KiB, a sample of the step's batch 1.00 MiB: look whether "
        "these are its data (--data)"
    ]
    assert not any(said.values())


@pytest.mark.parametrize("workers", ["none", 1, 4])
def test_another_host_is_one_with_workers_for_its_cores(workers: int | str) -> None:
    """Not even a thousand cores prepare faster than the workers there are."""
    asked = step(BANDWIDTH_BOUND, fed("10", workers=workers))
    found = speed.speed(asked)
    (text,) = (text for text in gains_of(found) if text.startswith("a host with"))
    cores, more = (int(word) for word in re.findall("[0-9]+", text))
    assert text == f"a host with {cores} cores like these, --workers {more}"
    there = step(BANDWIDTH_BOUND, fed("10", workers=more, cores=float(cores), threads=cores))
    faster = found.time.step_s / speed.speed(there).time.step_s
    assert gains_of(found)[text] == pytest.approx(faster)
    assert faster <= found.time.step_s / found.time.gpu_s


def test_faster_storage_helps_as_far_as_the_workers_let_it() -> None:
    """ImageNet at 1 MB/s; without that limit the 8 pictures wait for one worker."""
    slow = speed.speed(step(BANDWIDTH_BOUND, fed("imagenet-jpeg", storage_bytes_per_s=1e6))).time
    free = speed.speed(step(BANDWIDTH_BOUND, fed("imagenet-jpeg"))).time
    (factor,) = (gain.factor for gain in slow.gains if gain.change == "faster storage")
    assert factor == pytest.approx(slow.step_s / free.step_s)
    assert factor < slow.step_s / slow.gpu_s


def test_what_pinning_costs_the_training_process_is_a_gain_without_it() -> None:
    """A batch of 8 MiB is mapped and pinned in about 3 ms; the step takes 0.3."""
    fast = (relu(10_000_000),)
    gains = gains_of(speed.speed(step(fast, fed("0.001", workers=3))))
    assert gains["--no-pin-memory"] > 1.05


def test_without_workers_the_training_process_prepares_the_batch() -> None:
    found = speed.speed(step(BANDWIDTH_BOUND, fed("10", workers="none")))
    assert found.time.loader_s is not None
    assert found.time.copy_s is not None
    together = found.time.loader_s + found.time.copy_s + found.time.gpu_s
    assert found.time.step_s == pytest.approx(together)
    assert not any("overlap" in text for text in found.assumptions)


def test_micro_batches_are_loaded_one_after_another() -> None:
    one = speed.speed(step(BANDWIDTH_BOUND, fed("10"))).time
    four = speed.speed(step(BANDWIDTH_BOUND, fed("10"), accumulate=4)).time
    assert one.loader_s is not None
    assert four.loader_s == pytest.approx(4 * one.loader_s)


def test_data_without_a_host_ask_for_cores_and_hold_nothing_up() -> None:
    found = speed.speed(step(BANDWIDTH_BOUND, job_config(data="10")))
    assert found.time.step_s == pytest.approx(3 * RELU_S)
    assert found.time.loader_s is None
    assert found.host.cores_needed is not None
    assert found.host.cores_needed > 80e-3 / (3 * RELU_S)
    assert found.host.cores_like == "EPYC 9B14 (Zen 4)"
    assert any("no host was named" in text for text in found.assumptions)


def test_an_unknown_slot_has_no_time_of_the_copy() -> None:
    request = fed("0.01", pcie_generation=None, pcie_lanes=None)
    card = replace(T4, pcie_generation=None, pcie_lanes=None)
    found = speed.speed(replace(step(BANDWIDTH_BOUND, request), card=card))
    assert found.time.copy_s is None
    assert found.time.loader_s is not None


def test_the_overlap_of_the_copy_is_said() -> None:
    said = speed.speed(step(BANDWIDTH_BOUND, fed("0.01"))).assumptions
    assert any("overlap the step" in text for text in said)


def test_float32_is_offered_a_faster_precision() -> None:
    gains = gains_of(speed.speed(step(COMPUTE_BOUND)))
    assert "--precision amp-fp16" in gains  # a T4 has no bfloat16
    assert gains["--precision amp-fp16"] > 2


def test_tf32_is_offered_where_the_card_has_it() -> None:
    a100 = load_gpus().find("a100-sxm4-80gb").spec
    text = "torch.backends.cuda.matmul.allow_tf32 = True"
    asked = replace(step(COMPUTE_BOUND), card=a100)
    assert text in gains_of(speed.speed(asked))
    has_it = replace(asked, counted=counts(COMPUTE_BOUND, tf32_matmul=True))
    assert text not in gains_of(speed.speed(has_it))
    assert text not in gains_of(speed.speed(step(COMPUTE_BOUND)))


@pytest.mark.parametrize("precision", [Precision.FP16, Precision.BF16, Precision.AMP_FP16])
def test_half_precision_is_not_offered_again(precision: Precision) -> None:
    half = (product(4096, 4096, 4096),)
    assert gains_of(speed.speed(step(half, precision=precision))) == {}


@pytest.mark.parametrize(
    ("dtype", "offered"), [("float32", True), ("bfloat16", False), ("float64", False)]
)
def test_of_weights_as_built_their_dtype_decides(dtype: str, offered: bool) -> None:
    weight = WeightDtype(dtype=dtype, elements=10, size_bytes=40)
    built = Counts(parameters=10, trainable_parameters=10, buffers=0, weight_dtypes=(weight,))
    asked = step(COMPUTE_BOUND, precision=Precision.AS_BUILT)
    asked = replace(asked, counted=counts(COMPUTE_BOUND, counts=built))
    assert ("--precision amp-fp16" in gains_of(speed.speed(asked))) is offered


def test_a_step_that_does_not_fit_is_held_up_by_memory() -> None:
    found = speed.speed(step(BANDWIDTH_BOUND), fits=False).time
    assert (found.bottleneck.bound, found.bottleneck.runner_up) == (Bound.VRAM, Bound.BANDWIDTH)
    assert found.gains == ()


def test_a_job_beyond_the_hosts_ram_is_held_up_by_it() -> None:
    request = job_config(ram="256MiB")
    found = speed.speed(step(BANDWIDTH_BOUND, request))
    assert found.host.ram_room is Room.DOES_NOT_FIT
    assert found.time.bottleneck.bound is Bound.HOST_RAM
    beyond_both = speed.speed(step(BANDWIDTH_BOUND, request), fits=False)
    assert beyond_both.time.bottleneck.bound is Bound.VRAM


def test_host_ram_is_the_process_the_workers_and_the_batches() -> None:
    found = speed.speed(step(BANDWIDTH_BOUND, job_config(ram="64GiB")), checkpoint=MIB).host
    assert (found.ram.base_bytes, found.ram.checkpoint_bytes) == (512 * MIB, MIB)
    assert found.ram.pinned_bytes == 9 * 8 * MIB
    assert (found.fits, found.shm_room) == (True, Room.UNKNOWN)


def test_past_runs_correct_the_card_and_end_the_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    spread = TimeSpread(low=0.8, high=1.5, coverage=0.9, basis="20 published step times")
    use_spread(monkeypatch, spread)
    plain = speed.speed(step(BANDWIDTH_BOUND))
    assert plain.time.interval_s == pytest.approx((2.4 * RELU_S, 4.5 * RELU_S))
    assert any("20 published step times" in text for text in plain.assumptions)
    corrected = speed.speed(step(BANDWIDTH_BOUND, time_ratio=1.2)).time
    assert corrected.step_s == pytest.approx(1.2 * plain.time.step_s)
    assert sum(seconds for _, seconds in corrected.phases_s) == pytest.approx(corrected.gpu_s)
    assert corrected.interval_s is None
    assert speed.speed(step(LAUNCH_BOUND, time_ratio=1.2)).time.step_s == pytest.approx(0.012)


def test_the_error_of_the_card_hides_behind_a_slower_loader(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    use_spread(monkeypatch, TimeSpread(low=0.8, high=1.2, coverage=0.9, basis=""))
    time = speed.speed(step(BANDWIDTH_BOUND, fed("10"))).time
    assert time.interval_s == (time.step_s, time.step_s)


def test_the_rent_is_as_given_else_of_the_host_else_of_the_card() -> None:
    given = speed.speed(step(BANDWIDTH_BOUND, job_config(price="2 EUR/h"))).cost
    assert given.price is not None
    assert given.price.currency == "EUR"
    a100 = load_gpus().find("a100-sxm4-40gb").spec
    request = job_config(host="p4d.24xlarge")
    assert request.machine is not None
    (whole,) = (one.usd_per_hour for one in request.machine.prices if one.usd_per_hour)
    of_eight = speed.speed(replace(step(BANDWIDTH_BOUND, request), card=a100))
    assert of_eight.cost.price is not None
    assert of_eight.cost.price.low == pytest.approx(whole / 8)
    assert any("its 8 cards" in text for text in of_eight.assumptions)
    other = speed.speed(step(BANDWIDTH_BOUND, request))
    assert any("any other card is put in its place" in text for text in other.assumptions)


def test_a_catalogue_comes_before_host_and_record(tmp_path: Path) -> None:
    rows = "InstanceType,AcceleratorName,AcceleratorCount,Price\nx,A100,4,10.0\n"
    (tmp_path / "vms.csv").write_text(rows)
    request = job_config(host="p4d.24xlarge", prices=f"sky:{tmp_path}")
    a100 = load_gpus().find("a100-sxm4-40gb").spec
    found = speed.speed(replace(step(BANDWIDTH_BOUND, request), card=a100))
    assert found.cost.price is not None
    assert (found.cost.price.low, found.cost.price.high) == (2.5, 2.5)
    assert "SkyPilot's catalogue of" in found.cost.price.basis
    assert any("rents are those of SkyPilot's catalogue" in text for text in found.assumptions)
    of_record = speed.speed(step(BANDWIDTH_BOUND, job_config(prices=f"sky:{tmp_path}")))
    assert of_record.cost.price == speed.speed(step(BANDWIDTH_BOUND, job_config())).cost.price


def answer(
    card: str = "t4",
    ratio: float | None = None,
    kernels: CardKernels | None = None,
    **changes: Any,
) -> DeviceMemory:
    (budget,) = memory_budgets([card], hardware_db=None, gpu_memory=None, reserve=0)
    if ratio is not None:
        known = Calibration(
            card=card, runs=3, context_overhead_bytes=None, reserved_offset_bytes=0,
            step_time_ratio=ratio, basis="calibrated on 3 runs on this card",
        )  # fmt: skip
        budget = calibrated(budget, known, kernels)
    else:
        budget = calibrated(budget, None, kernels)
    trace = StepTrace(
        outcome=RunOutcome.COMPLETED, batch_size=8, peak_allocated_bytes=0, peak_active_bytes=0,
        peak_reserved_bytes=0,
    )  # fmt: skip
    return DeviceMemory(budget=budget, trace=trace, fits=True, **changes)


def test_each_card_has_its_own_speed() -> None:
    config = StepConfig(batch_size=8)
    t4, a100 = device_timings(
        [answer("t4", ratio=1.1), answer("a100-sxm4-80gb")],
        config,
        counts(BANDWIDTH_BOUND),
        job_config(),
    )
    assert a100.time.step_s < t4.time.step_s
    assert t4.time.step_s == pytest.approx(3.3 * RELU_S)
    assert any("t4, step time: 1.1 x as computed" in text for text in t4.assumptions)
    assert any("counted on t4" in text for text in t4.assumptions)


KERNELS = CardKernels(factors={"elementwise, single": 1.5}, traces=2)
BASIS = "kernels of this card as measured in 2 traces"


def test_measured_kernels_take_the_place_of_computed_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    spread = TimeSpread(low=0.8, high=1.5, coverage=0.9, basis="20 published step times")
    use_spread(monkeypatch, spread)
    mixed = (*BANDWIDTH_BOUND, *COMPUTE_BOUND)
    config = StepConfig(batch_size=8)
    plain, found = device_timings(
        [answer(), answer(kernels=KERNELS)], config, counts(mixed), job_config()
    )
    assert found.time.step_s == pytest.approx(plain.time.step_s + 0.5 * 3 * RELU_S)
    assert dict(found.time.phases_s)[Phase.OPTIMIZER_STEP] == pytest.approx(1.5 * RELU_S)
    assert found.time.interval_basis == f"20 published step times; {BASIS}"
    assert found.assumptions[0] == f"t4, step time: {BASIS}, 1 kind of them, 1.5 x as computed"
    assert dict(found.time.time_sources)[TimeSource.TABLE] == pytest.approx(
        4.5 * RELU_S / found.time.gpu_s
    )
    assert all("trace" not in text for text in plain.assumptions)
    assert TimeSource.TABLE not in dict(plain.time.time_sources)


def test_the_times_of_single_operators_are_corrected_too() -> None:
    given = (answer(kernels=KERNELS), StepConfig(batch_size=8), counts(BANDWIDTH_BOUND))
    timed = speed.card_step(*given, job_config()).timed_operators()
    assert sum(one.total_s for one in timed.operators) == pytest.approx(4.5 * RELU_S)
    assert {one.source for one in timed.operators} == {TimeSource.TABLE}


def test_verifications_of_the_card_are_not_corrected_twice() -> None:
    config = StepConfig(batch_size=8)
    (found,) = device_timings(
        [answer(ratio=1.2, kernels=KERNELS)], config, counts(BANDWIDTH_BOUND), job_config()
    )
    assert found.time.step_s == pytest.approx(1.2 * 3 * RELU_S)
    assert found.assumptions[0] == (
        "t4, step time: 1.2 x as computed, calibrated on 3 runs on this card; kernels of its "
        "traces are not used beside it"
    )
    assert TimeSource.TABLE not in dict(found.time.time_sources)


def test_the_largest_batch_of_the_card_is_known_to_its_gains() -> None:
    capacity = Capacity(largest=16, is_bound=False, probes=())
    known = LargestValue(capacity=capacity, method=Method.REPLAY, is_confirmed=True)
    (found,) = device_timings(
        [answer(batch=known)], StepConfig(batch_size=8), counts(LAUNCH_BOUND), job_config()
    )
    assert [gain.change for gain in found.time.gains] == ["--batch 16"]


def test_where_nothing_ran_on_the_card_there_is_no_speed() -> None:
    assert device_timings([answer()], StepConfig(), counts(()), job_config()) == []


def test_bytes_that_nobody_knows_leave_data_out() -> None:
    (found,) = device_timings(
        [answer()],
        StepConfig(),
        counts(BANDWIDTH_BOUND, batch_tensors_bytes=()),
        job_config(data="4.8"),
    )
    assert found.host.data is None
    assert any("data are left out" in text for text in found.assumptions)


def test_without_a_recorded_run_or_in_inference_there_is_no_checkpoint() -> None:
    assert checkpoint_bytes(answer(), Mode.TRAIN) == 0
    assert checkpoint_bytes(answer(), Mode.INFER) == 0


def test_the_share_of_the_peak_leaves_out_what_is_computed_again() -> None:
    flops = 2 * 4096**3
    done = StepCounts(
        forward_flops_per_sample=flops, step_flops=4 * flops, activations_per_sample=None,
        recomputed_flops=flops,
    )  # fmt: skip
    timed = step(COMPUTE_BOUND, accumulate=2)
    timed = replace(timed, counted=replace(timed.counted, step=done))
    time = speed.speed(timed).time
    peak = T4.peak_flops_per_s.fp32
    assert peak is not None
    assert time.mfu == pytest.approx(2 * 3 * flops / (time.step_s * peak))
    assert speed.speed(step(BANDWIDTH_BOUND)).time.mfu is None  # no FLOPs


def test_a_job_on_several_gpus_has_the_throughput_of_each_and_its_efficiency() -> None:
    config = step_config({"batch_size": 8, "num_gpus": 4, "sequence_length": 100})
    sent = CollectiveRecord(
        collective=Collective.ALL_REDUCE, group="", phase=Phase.BACKWARD, size_bytes=GIB,
        ranks=4, hosts=1, calls=1,
    )  # fmt: skip
    alone = step(BANDWIDTH_BOUND)
    several = replace(
        alone,
        config=config,
        counted=replace(alone.counted, collectives=(sent,)),
        network=network_of(config.parallel, None, None),
    )
    time, one = speed.speed(several).time, speed.speed(alone).time
    assert time.exposed_messages_s is not None
    assert time.exposed_messages_s > 0
    assert time.step_s == pytest.approx(one.step_s + time.exposed_messages_s)
    assert time.samples_per_s == pytest.approx(4 * 8 / time.step_s)
    assert time.samples_per_s_per_gpu == pytest.approx(8 / time.step_s)
    assert time.tokens_per_s_per_gpu == pytest.approx(800 / time.step_s)
    assert time.scaling_efficiency == pytest.approx(one.step_s / time.step_s)
    assert (one.samples_per_s_per_gpu, one.scaling_efficiency) == (None, None)


def test_the_form_in_json_is_plain() -> None:
    time = speed.speed(step(BANDWIDTH_BOUND, fed("10"))).time.to_dict()
    assert time["bound"] == "data preparation"
    assert time["phases_s"].keys() == {"forward", "optimizer step"}
    assert time["gains"][0].keys() == {"change", "factor", "is_approximate"}


def on_a_limit(limit_w: float | None, operators: tuple[OperatorRecord, ...]) -> TimedStep:
    """The step on a T4 of 70 W, at the clock that the limit leaves."""
    return speed._under_limit(step(operators, job_config(power_limit=limit_w)))


def test_a_power_limit_slows_what_arithmetic_bounds() -> None:
    """All of the step is compute-bound: 0.92 x 70 W are drawn."""
    free, limited = (on_a_limit(watts, COMPUTE_BOUND) for watts in (None, 50.0))
    clock = clock_under_limit(drawn_w=0.92 * 70, limit_w=50.0, tdp_w=70)
    assert free.clock == 1.0
    assert limited.clock == pytest.approx(clock, rel=0.01)
    assert limited.parts().step_s == pytest.approx(free.parts().step_s / limited.clock)
    assert dict(limited.parts().phases_s) == pytest.approx(
        {phase: seconds / limited.clock for phase, seconds in free.parts().phases_s}
    )
    (operator,) = limited.timed_operators().operators
    assert operator.compute_s == pytest.approx(limited.parts().compute_s)


def test_a_power_limit_slows_memory_by_the_root() -> None:
    free, limited = (on_a_limit(watts, BANDWIDTH_BOUND) for watts in (None, 50.0))
    assert 0.5 < limited.clock < 1
    assert limited.parts().step_s == pytest.approx(free.parts().step_s / limited.clock**0.5)


def test_a_step_that_waits_for_its_launches_is_not_slowed() -> None:
    limited = on_a_limit(25.0, LAUNCH_BOUND)
    assert limited.clock == 1.0
    said = speed.speed(limited).assumptions
    assert (
        "t4 with a power limit of 25 W of 70 W: this step draws no more, so it takes as long as "
        "without"
    ) in said


def test_a_power_limit_bounds_the_power_and_widens_the_interval(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spread = TimeSpread(low=0.9, high=1.2, coverage=0.8, basis="runs")
    use_spread(monkeypatch, spread)
    free, limited = (speed.speed(on_a_limit(watts, COMPUTE_BOUND)) for watts in (None, 50.0))
    assert free.time.interval_s is not None
    assert limited.time.interval_s is not None
    assert free.time.interval_s[1] == pytest.approx(1.2 * free.time.step_s)
    # 1.2816 deviations cover 80 %
    wide = sqrt(log(1.2) ** 2 + (1.2816 * limit_spread(limit_w=50, tdp_w=70)) ** 2)
    assert limited.time.interval_s[1] == pytest.approx(exp(wide) * limited.time.step_s, rel=1e-4)
    assert limited.time.interval_basis == "runs; errors at power limits of 8 jobs on four cards"
    assert limited.cost.power_w[1] <= 50 * 1.25  # with the host's quarter
    assert limited.cost.power_w[1] < free.cost.power_w[1]
    assert any("cores at 88 % of their clock" in text for text in limited.assumptions)


def test_the_interval_is_wider_on_a_card_that_was_not_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """0.3 and 0.4 are the legs of a right triangle with 0.5; the launches add nothing here."""
    scales = Scales(
        sources=dict.fromkeys(TimeSource, 0.3),
        unknown={**dict.fromkeys(Unknown, 0.4), Unknown.LAUNCHES: 0.0},
        reach=1.0, coverage=0.8, basis="20 published steps",
    )  # fmt: skip
    one = step(BANDWIDTH_BOUND)
    architectures = {architecture(one.card.compute_capability): frozenset(StepPrecision)}

    def high(cards: frozenset[str]) -> float:
        measured = Measured(cards=cards, architectures=architectures)
        known = Spreads(measured=measured, scales=scales)
        monkeypatch.setattr(time_interval, "spreads", lambda: known)
        time = speed.speed(one).time
        assert time.interval_s is not None
        return time.interval_s[1] / time.step_s

    monkeypatch.setattr(time_interval, "_free_spread", FREE_SPREAD)
    assert high(frozenset({one.card.id})) == pytest.approx(math.exp(0.3))
    assert high(frozenset()) == pytest.approx(math.exp(0.5))


def test_an_operator_without_a_kernel_of_its_own_rule_has_a_source() -> None:
    """Only biases are trained: a convolution's backward gives neither of its two gradients."""
    images, weight = tensor(1, 8, 4, 4), tensor(8, 8, 3, 3)
    record = operator("convolution_backward", (images, images, weight), (tensor(8),))
    (found,) = step((record,)).timed_operators().operators
    assert (found.source, found.total_s) == (TimeSource.FALLBACK, 0.0)
